-- How a handler gets a job: its own again, one whose holder is gone, one that is paused elsewhere, or the oldest of the groups.
--
-- The cost is that of the groups of the scope, oldest first, up to the first job that can be had; never that of the jobs behind them.
local N_STEPS, N_NEWER, N_DUE = 32, 256, 256
local life = tonumber(a.life)
local pass = {}
for _, base in ipairs(a.pass) do pass[base] = true end

local function ripens_at(f) return math.max(tonumber(f.mk) + math.floor(life / 3), tonumber(f.ex)) end

local function is_older(one, other)
    if one.age ~= other.age then return one.age < other.age end
    return one.seq < other.seq
end

local function grant(job, taken)
    local hold = new_hold(a.handler, a.host, a.life)
    hold.tk = taken
    begin_claim(job, hold, taken and 'taken over' or 'claimed')
    put_job(job)
    return claim_of(job, false)
end

-- Marks the claims that were not renewed in time; answers the oldest job whose mark is ripe.
local function look_twice()
    local ripe, position
    for _, job in ipairs(late_jobs()) do
        local is_ours = covers(a.scope, job.f)
        if is_ours and not job.f.mk then
            mark(job)
        elseif is_ours and ripens_at(job.f) <= now then
            local here = { age = tonumber(job.f.age), seq = tonumber(job.f.seq) }
            if not position or is_older(here, position) then ripe, position = job, here end
        end
    end
    return ripe
end

local function find_paused()
    for _, found in ipairs(call('ZRANGE', P .. 'paused', 0, -1)) do
        local job = get_job(string.sub(found, 18))
        if job and is_claimed(job) then
            local f = job.f
            local is_open = f.ps and f.ht ~= a.host and f.phase == '0' and covers(a.scope, f) and not pass[f.base]
            if is_open and tonumber(f.v) <= VERSION and host_view(f['host:' .. a.host]).avoid <= now then return job end
        else
            call('ZREM', P .. 'paused', found)
        end
    end
end

-- Moves jobs that are due into their groups.
local function move_due()
    local due = call('ZRANGEBYSCORE', P .. 'held', '-inf', now, 'LIMIT', 0, N_DUE)
    local n_moved = 0
    for _, id in ipairs(due) do
        local job = get_job(id)
        if not job or job.f.spot ~= 'h' then
            call('ZREM', P .. 'held', id)
        elseif tonumber(job.f.v) <= VERSION then
            move(job, 'q')
            put_job(job)
            n_moved = n_moved + 1
        end
    end
    if n_moved > 0 then tell_all() end
    return #due == N_DUE
end

-- The oldest job of a group that this host can have.
local function oldest_of(group)
    local key, start, n_avoided, n_newer = P .. 'group:' .. group, 0, 0, 0
    while n_newer <= N_NEWER do
        local members = call('ZRANGE', key, start, start + 7, 'WITHSCORES')
        if #members == 0 then return nil end
        local n_gone = 0
        for n = 1, #members, 2 do
            local id = string.sub(members[n], 18)
            local found = redis.pcall('HMGET', P .. 'job:' .. id, 'v', 'host:' .. a.host, 'spot')
            if found.err or not found[1] or found[3] ~= 'q' then
                -- Not where it says: what else there is of it is set aside when somebody reads it.
                call('ZREM', key, members[n])
                if found.err or found[1] and not found[3] then broken('job', id, found.err or 'the field spot is missing', found[1]) end
                n_gone = n_gone + 1
            elseif tonumber(found[1]) > VERSION then
                newer = math.max(newer, tonumber(found[1]))
                n_newer = n_newer + 1
            elseif host_view(found[2]).avoid <= now then
                return { age = tonumber(members[n + 1]), seq = tonumber(string.sub(members[n], 1, 16)), id = id }
            else
                n_avoided = n_avoided + 1
                if n_avoided > N_STEPS then return nil end
            end
        end
        start = start + 8 - n_gone
    end
end

-- The lists of group heads of the scope. A job that names no enterprise belongs to whichever queue it is in.
local function heads()
    if a.scope.is == 'r' then return { P .. 'heads:r:' .. a.scope.owner .. '/' .. a.scope.repo } end
    if a.scope.is == 'o' then return { P .. 'heads:o:' .. a.scope.owner } end
    return { P .. 'heads:e:', P .. 'heads:e:' .. a.scope.slug }
end

-- The oldest job that this handler can have. Groups come in the order of their oldest job, so that the search ends early.
local function find_oldest()
    local oldest
    for _, index in ipairs(heads()) do
        local start, is_done = 0, false
        while not is_done do
            local page = call('ZRANGE', index, start, start + 15, 'WITHSCORES')
            is_done = #page == 0
            for n = 1, #page, 2 do
                local head = { age = tonumber(page[n + 1]), seq = tonumber(string.sub(page[n], 1, 16)) }
                if oldest and is_older(oldest, head) then
                    is_done = true
                    break
                end
                local group = string.sub(page[n], 18)
                if not pass[string.match(group, '^[^\n]*')] then
                    local found = oldest_of(group)
                    if found and (not oldest or is_older(found, oldest)) then oldest = found end
                end
            end
            start = start + 16
        end
    end
    return oldest and get_job(oldest.id)
end

-- How long until it pays to ask again, in ms.
local function next_due(is_more_due)
    local next = is_more_due and now or nil
    local due = call('ZRANGEBYSCORE', P .. 'held', '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if due[2] then next = math.min(next or math.huge, tonumber(due[2])) end
    if a.take_over then
        for _, job in ipairs(late_jobs()) do
            if covers(a.scope, job.f) then next = math.min(next or math.huge, job.f.mk and ripens_at(job.f) or now) end
        end
        local start = call('ZCOUNT', P .. 'claims', '-inf', now)
        local page = call('ZRANGE', P .. 'claims', start, start, 'WITHSCORES')
        while page[1] do
            local job = get_claimed(page[1])
            if job and covers(a.scope, job.f) then
                next = math.min(next or math.huge, tonumber(page[2]))
                break
            end
            start = start + 1
            page = call('ZRANGE', P .. 'claims', start, start, 'WITHSCORES')
        end
    end
    -- Never zero, even if more is due than one verb moves: nobody may spin.
    return next and text(math.max(next - now, 1)) or ''
end

return main(function()
    local key = P .. 'handler:' .. a.handler
    local known = call('HMGET', key, 'life', 'job')
    if known[1] ~= a.life then call('HSET', key, 'life', a.life) end
    local own = get_job(known[2])
    if own and own.f.hd == a.handler then
        -- The answer to the first call may have been lost.
        own.f.ht, own.f.lf, own.f.ps = a.host, a.life, nil
        renew_hold(own)
        put_job(own)
        return claim_of(own, true)
    end
    local job = a.take_over and look_twice()
    if job then
        -- The attempt of the old claim stays counted: its handler may have died of this job.
        local old = lose(job)
        return grant(job, cjson.encode({ handler = old.hd, host = old.ht, vm = old.vm }))
    end
    job = find_paused()
    if job then
        -- The old handler has only waited: its attempt is taken back.
        lose(job)
        uncount(job)
        return grant(job)
    end
    local is_more_due = move_due()
    job = find_oldest()
    if job then return grant(job) end
    return next_due(is_more_due)
end)
