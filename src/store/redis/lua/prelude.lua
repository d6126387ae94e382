-- What every verb begins with: the clock, the documents, and the places they are in.
--
-- KEYS[1] is the queue's prefix, `anklet:{QUEUE}:`: all its keys lie in one slot. ARGV: the time (tests only), the channel for news,
-- the life of tombstones in ms, and the verb's own arguments as JSON. Numbers of 64 bits stay text all the way, since Lua rounds them.
--
-- A verb first reads and decides, then writes: what cannot be read ends it before anything is changed.
local P = KEYS[1]
local a = cjson.decode(ARGV[4])
local VERSION = 1
local N_HISTORY, N_REASONS = 64, 16
local call = redis.call

local function text(number) return string.format('%.0f', number) end
local function pad(number) return string.format('%016.0f', number) end

-- The store's clock: the server's, but never behind what has been shown. A clock that was once set far ahead goes on from there.
local function read_clock()
    local meta = call('HMGET', P .. 'meta', 'at', 'ahead')
    local last, ahead = tonumber(meta[1] or '0'), tonumber(meta[2] or '0')
    if ARGV[1] ~= '' then return math.max(tonumber(ARGV[1]), last), ahead end
    local time = call('TIME')
    local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    if server + ahead < last then ahead = last - server end
    return server + ahead, ahead
end
local now, ahead = read_clock()

-- The newest version met of documents that are for a newer anklet.
local newer = 0
local signals = {}

local function tell(handler, kind, more)
    local signal = more or {}
    signal.to, signal.is = handler, kind
    signals[#signals + 1] = signal
end

-- A job became claimable.
local function tell_all() tell(nil, 'look') end

-- A hash as a table; what is wrong with it as the second answer.
local function read_hash(key)
    local reply = redis.pcall('HGETALL', key)
    if reply.err then return nil, reply.err end
    if #reply == 0 then return nil end
    local hash = {}
    for n = 1, #reply, 2 do hash[reply[n]] = reply[n + 1] end
    return hash
end

local function copy(hash)
    local other = {}
    for name, value in pairs(hash) do other[name] = value end
    return other
end

-- Writes what differs.
local function write_hash(key, old, new)
    local set, gone = {}, {}
    for name, value in pairs(new) do
        if old[name] ~= value then set[#set + 1] = name; set[#set + 1] = value end
    end
    for name in pairs(old) do
        if new[name] == nil then gone[#gone + 1] = name end
    end
    if #set > 0 then call('HSET', key, unpack(set)) end
    if #gone > 0 then call('HDEL', key, unpack(gone)) end
end

local function missing(hash, texts, numbers)
    for _, name in ipairs(texts) do
        if not hash[name] then return 'the field ' .. name .. ' is missing' end
    end
    for _, name in ipairs(numbers) do
        if not tonumber(hash[name]) then return 'the field ' .. name .. ' is no number' end
    end
end

-- Ends the verb: this document cannot be read.
local function broken(kind, id, why, version)
    error({ broken = kind, id = id, why = why, version = tonumber(version) or 0 })
end

local function lost() error({ lost = true }) end

-- Jobs ------------------------------------------------------------------------------------------------------------------------------

local HOLD = { 'hd', 'ht', 'fn', 'lf', 'ex', 'mk', 'ps', 'vm', 'tk' }

local function why_broken(f)
    local why = missing(f, { 'job', 'own', 'repo', 'ent', 'base', 'labels', 'run', 'full', 'spot' },
        { 'v', 'att', 'age', 'seq', 'arr', 'phase', 'tries', 'quiet' })
    if why then return why end
    if f.spot == 'c' then return missing(f, { 'hd', 'ht', 'fn' }, { 'lf', 'ex' }) end
    if f.spot == 'h' then return missing(f, {}, { 'due' }) end
end

-- A job: its id, its fields, and the fields as they are stored; nil if there is none.
local function get_job(id)
    if not id then return nil end
    local f, why = read_hash(P .. 'job:' .. id)
    if not f and not why then return nil end
    why = why or why_broken(f)
    if why then broken('job', id, why, f and f.v) end
    return { id = id, f = f, old = copy(f), notes = {}, reasons = {} }
end

-- A new job of the verb's argument `job`.
local function new_job(phase, spot)
    local f = {
        v = text(VERSION), phase = phase, spot = spot, tries = '0', arr = text(now),
        quiet = text(now),
        seq = text(call('HINCRBY', P .. 'meta', 'seq', 1)), age = a.age or text(now), id = a.id, att = a.att,
        job = a.job, own = a.own, repo = a.repo, ent = a.ent, base = a.base, labels = a.labels, run = a.run, full = a.full,
    }
    return { id = a.id, f = f, notes = {}, reasons = {} }
end

-- A line of the job's history.
local function note(job, what, handler, host)
    job.notes[#job.notes + 1] = cjson.encode({ text(now), what, handler, host })
end

local function note_of_hold(job, what) note(job, what, job.f.hd, job.f.ht) end

local function is_claimed(job) return job.f.spot == 'c' end

local function move(job, spot, due) job.f.spot, job.f.due = spot, due end

-- Takes the claim off; where the job goes is for the caller to say.
local function take_hold(job)
    if not is_claimed(job) then return nil end
    local hold = {}
    for _, name in ipairs(HOLD) do hold[name], job.f[name] = job.f[name], nil end
    move(job, 'q')
    return hold
end

-- Puts a claim on the job.
local function place(job, hold, what)
    note(job, what, hold.hd, hold.ht)
    move(job, 'c')
    for _, name in ipairs(HOLD) do job.f[name] = hold[name] end
end

-- Puts a new claim on the job; the try counts from now on, so that a crash counts too.
local function begin_claim(job, hold, what)
    job.f.tries = text(tonumber(job.f.tries) + 1)
    place(job, hold, what)
end

local function new_hold(handler, host, life)
    local fence = text(call('HINCRBY', P .. 'meta', 'fence', 1))
    return { hd = handler, ht = host, fn = fence, lf = life, ex = text(now + tonumber(life)) }
end

local function renew_hold(job)
    job.f.ex = text(now + tonumber(job.f.lf))
    job.f.mk = nil
end

-- The try in work does not count.
local function uncount(job) job.f.tries = text(math.max(tonumber(job.f.tries) - 1, 0)) end

-- News has moved it: its silence begins anew.
local function hear(job) job.f.quiet, job.f.asked = text(now), nil end

local function lose(job)
    local hold = take_hold(job)
    if hold then tell(hold.hd, 'retry') end
    return hold
end

-- The job that a handler holds.
local function job_of(handler) return get_job(call('HGET', P .. 'handler:' .. handler, 'job')) end

-- The job of a claim that must still hold.
local function held(handler, fence)
    local job = job_of(handler)
    if job and is_claimed(job) and job.f.hd == handler and job.f.fn == fence then return job end
    lost()
end

-- What a job knows of a host that failed with it: failures in a row, until when the host leaves it alone, whether one was counted once.
local function host_view(stored)
    local failures, avoid, once = string.match(stored or '', '^(%d+) (%d+) (%d)$')
    return { failures = tonumber(failures or 0), avoid = tonumber(avoid or 0), once = once or '0' }
end

-- Groups ----------------------------------------------------------------------------------------------------------------------------

local function group_of(f) return f.base .. '\n' .. f.ent end

-- The lists of group heads that a job's group is in: those of its owner, its repository and its enterprise.
local function indexes(f)
    return { P .. 'heads:o:' .. f.own, P .. 'heads:r:' .. f.own .. '/' .. f.repo, P .. 'heads:e:' .. f.ent }
end

local function member(f, id) return pad(f.seq) .. ':' .. id end

-- Writes which job is the group's oldest, after one came or left; a group without jobs goes.
local function keep_head(group, f)
    local head = call('ZRANGE', P .. 'group:' .. group, 0, 0, 'WITHSCORES')
    local old = call('HGET', P .. 'groups', group)
    local new = head[1] and string.sub(head[1], 1, 17) .. group
    local is_same = old and old == new
    if is_same then return end
    for _, index in ipairs(indexes(f)) do
        if old then call('ZREM', index, old) end
        if new then call('ZADD', index, head[2], new) end
    end
    if new then call('HSET', P .. 'groups', group, new) else call('HDEL', P .. 'groups', group) end
end

local function set_sorted(key, score, what)
    if score then call('ZADD', key, score, what) else call('ZREM', key, what) end
end

-- When a claim that was not renewed is marked: a renewal's time before it runs out.
local function look_at(f) return f.ex and text(tonumber(f.ex) - math.floor(tonumber(f.lf) / 6)) end

-- Brings the places that a job is found in from what `old` says to what `new` says; each may be nil.
local function keep_places(id, old, new)
    local none = {}
    local o, n = old or none, new or none
    local was_in, is_in = o.spot == 'q' and group_of(o), n.spot == 'q' and group_of(n)
    if was_in ~= is_in then
        if was_in then call('ZREM', P .. 'group:' .. was_in, member(o, id)); keep_head(was_in, o) end
        if is_in then call('ZADD', P .. 'group:' .. is_in, n.age, member(n, id)); keep_head(is_in, n) end
    end
    if o.due ~= n.due then set_sorted(P .. 'held', n.due, id) end
    if (o.spot == 'r') ~= (n.spot == 'r') then call(n.spot == 'r' and 'SADD' or 'SREM', P .. 'running', id) end
    if look_at(o) ~= look_at(n) then set_sorted(P .. 'claims', look_at(n), id) end
    if o.ps ~= n.ps then set_sorted(P .. 'paused', n.ps and n.age, member(new or old, id)) end
    local was_quiet, is_quiet = o.spot ~= 'c' and o.quiet or nil, n.spot ~= 'c' and n.quiet or nil
    if was_quiet ~= is_quiet then set_sorted(P .. 'quiet', is_quiet, member(new or old, id)) end
    -- A claim that moves to another job takes handler and VM along: they may be that job's already.
    if o.hd ~= n.hd then
        if o.hd and call('HGET', P .. 'handler:' .. o.hd, 'job') == id then call('HDEL', P .. 'handler:' .. o.hd, 'job') end
        if n.hd then call('HSET', P .. 'handler:' .. n.hd, 'job', id) end
    end
    if o.vm ~= n.vm then
        if o.vm and call('HGET', P .. 'holders', o.vm) == id then call('HDEL', P .. 'holders', o.vm) end
        if n.vm then call('HSET', P .. 'holders', n.vm, id) end
    end
end

local function push_newest(key, lines, most)
    if #lines == 0 then return end
    call('RPUSH', key, unpack(lines))
    call('LTRIM', key, -most, -1)
end

-- Writes a job where its spot says, new or changed.
local function put_job(job)
    local key = P .. 'job:' .. job.id
    write_hash(key, job.old or {}, job.f)
    push_newest(key .. ':history', job.notes, N_HISTORY)
    push_newest(key .. ':reasons', job.reasons, N_REASONS)
    keep_places(job.id, job.old, job.f)
    job.old, job.notes, job.reasons = copy(job.f), {}, {}
end

-- A job whose claim is in the list of claims; one that is gone leaves the list.
local function get_claimed(id)
    local job = get_job(id)
    if job and is_claimed(job) then return job end
    call('ZREM', P .. 'claims', id)
end

-- The jobs whose claims were not renewed in time.
local function late_jobs()
    local jobs = {}
    for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'claims', '-inf', now)) do jobs[#jobs + 1] = get_claimed(id) end
    return jobs
end

local function mark(job)
    job.f.mk = text(now)
    put_job(job)
end

-- What everybody does who lives, if the caller's connection lets it.
local function mark_late()
    if not a.mark then return end
    for _, job in ipairs(late_jobs()) do
        if not job.f.mk then mark(job) end
    end
end

-- Keeps a job that goes beside its tombstone, for a day at most.
local REMEMBERED = 86400000
local function remember(job)
    local key, life, f = P .. 'last:' .. job.id, text(math.min(tonumber(ARGV[3]), REMEMBERED)), job.f
    local history = call('LRANGE', P .. 'job:' .. job.id .. ':history', 0, -1)
    for _, line in ipairs(job.notes) do history[#history + 1] = line end
    call('DEL', key, key .. ':history')
    for _, name in ipairs({ 'v', 'job', 'phase', 'runner', 'concl', 'tries' }) do
        if f[name] then call('HSET', key, name, f[name]) end
    end
    push_newest(key .. ':history', history, N_HISTORY)
    call('PEXPIRE', key, life)
    call('PEXPIRE', key .. ':history', life)
end

-- Removes a job; one that was never written is well. One that is over is remembered.
local function remove_job(job)
    if job.f.phase == '2' then remember(job) end
    if not job.old then return end
    local key = P .. 'job:' .. job.id
    call('DEL', key, key .. ':history', key .. ':reasons')
    keep_places(job.id, job.old, nil)
end

-- Puts a job whose claim has ended through no fault of its own where its phase says; the try does not count.
local function let_go(job)
    uncount(job)
    if job.f.phase == '0' then
        move(job, 'q')
        tell_all()
        put_job(job)
    elseif job.f.phase == '1' then
        move(job, 'r')
        put_job(job)
    else
        remove_job(job)
    end
end

-- Leaves a tombstone.
local function bury(id, attempt)
    local key = P .. 'ended:' .. id
    local known = tonumber(call('GET', key) or '0')
    call('SET', key, text(math.max(known, tonumber(attempt))), 'PX', ARGV[3])
end

-- Ends a claim as `rule` says. A handler that repeats the end of its last claim is answered as before.
local function end_claim(rule)
    local key = P .. 'handler:' .. a.handler
    local job = job_of(a.handler)
    if job and job.f.hd == a.handler and job.f.fn == a.fence then
        rule(job)
        call('HSET', key, 'ended', a.fence)
    elseif call('HGET', key, 'ended') ~= a.fence then
        lost()
    end
end

-- VM records ------------------------------------------------------------------------------------------------------------------------

-- The fields are those of the record, each as JSON; those with a `_` are the same again, for Lua to read.
local function get_vm(name)
    if not name then return nil end
    local f, why = read_hash(P .. 'vm:' .. name)
    if not f and not why then return nil end
    why = why or missing(f, { '_plugin', '_host', '_scope', '_labels' }, { 'v', '_rank' })
    if why then broken('vm', name, why, f and f.v) end
    return { name = name, f = f, old = copy(f) }
end

local function put_vm(record)
    local old = record.old or {}
    write_hash(P .. 'vm:' .. record.name, old, record.f)
    if old._host ~= record.f._host then
        if old._host then call('SREM', P .. 'vms:' .. old._host, record.name) end
        call('SADD', P .. 'vms:' .. record.f._host, record.name)
        call('HSET', P .. 'vms', record.name, record.f._host)
    end
    record.old = copy(record.f)
end

-- Forgets a VM; no claim has it any more.
local function remove_vm(name)
    local job = get_job(call('HGET', P .. 'holders', name))
    local host = call('HGET', P .. 'vms', name)
    call('DEL', P .. 'vm:' .. name)
    call('HDEL', P .. 'vms', name)
    if host then call('SREM', P .. 'vms:' .. host, name) end
    if job and job.f.vm == name then
        job.f.vm = nil
        put_job(job)
    end
end

-- The records of these VMs as they are stored.
local function read_vms(names)
    local records = {}
    for _, name in ipairs(names) do
        local hash = redis.pcall('HGETALL', P .. 'vm:' .. name)
        if hash.err then broken('vm', name, hash.err) end
        if #hash > 0 then records[#records + 1] = { name, hash } end
    end
    return records
end

-- The record now names this job.
local function name_job(record, id, f)
    record.f._job = id
    record.f.job, record.f.run, record.f.repository = '"' .. id .. '"', '"' .. f.run .. '"', f.full
end

local function covers(scope, f)
    if scope.is == 'r' then return scope.owner == f.own and scope.repo == f.repo end
    if scope.is == 'o' then return scope.owner == f.own end
    return f.ent == '' or f.ent == scope.slug
end

-- What a claim is, for the handler that has it.
local function claim_of(job, resumed)
    local f = job.f
    return {
        'id', job.id, 'v', f.v, 'job', f.job, 'phase', f.phase, 'runner', f.runner or false, 'concl', f.concl or false,
        'tries', f.tries, 'failures', text(host_view(f['host:' .. f.ht]).failures), 'handler', f.hd, 'fence', f.fn,
        'taken', f.tk or false, 'resumed', resumed and '1' or '0',
        'reasons', call('LRANGE', P .. 'job:' .. job.id .. ':reasons', 0, -1),
    }
end

-- What a job is, for people.
local function entry_of(job)
    local f, avoids = job.f, {}
    for name, value in pairs(f) do
        local host = string.match(name, '^host:(.*)$')
        local avoid = host and host_view(value).avoid
        if host and avoid > now then
            avoids[#avoids + 1] = host
            avoids[#avoids + 1] = text(avoid)
        end
    end
    return {
        'id', job.id, 'v', f.v, 'job', f.job, 'phase', f.phase, 'runner', f.runner or false, 'concl', f.concl or false,
        'tries', f.tries, 'spot', f.spot == 'h' and tonumber(f.due) <= now and 'q' or f.spot, 'due', f.due or false,
        'handler', f.hd or false, 'host', f.ht or false, 'paused', f.ps or false, 'vm', f.vm or false, 'until', f.ex or false,
        'avoids', avoids, 'history', call('LRANGE', P .. 'job:' .. job.id .. ':history', 0, -1),
    }
end

-- Jobs that are due, which nobody has moved into their groups yet: a claim moves them.
local function due_jobs()
    local jobs = {}
    for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'held', '-inf', now, 'LIMIT', 0, 1000)) do
        local job = get_job(id)
        if job and job.f.spot == 'h' and tonumber(job.f.v) <= VERSION then jobs[#jobs + 1] = job end
    end
    return jobs
end

local function is_before(f, g)
    local age, other = tonumber(f.age), tonumber(g.age)
    if age ~= other then return age < other end
    return tonumber(f.seq) < tonumber(g.seq)
end

-- Moves a document that cannot be read out of the way, where people find it for 30 days.
local function set_aside(kind, id)
    local key, aside = P .. kind .. ':' .. id, P .. 'broken:' .. kind .. ':' .. id
    if call('EXISTS', key) == 1 then
        call('RENAME', key, aside)
        call('PEXPIRE', aside, 30 * 86400000)
    end
    if kind == 'vm' then
        local host = call('HGET', P .. 'vms', id)
        if host then call('SREM', P .. 'vms:' .. host, id) end
        call('HDEL', P .. 'vms', id)
        call('HDEL', P .. 'holders', id)
        return
    end
    call('DEL', key .. ':history', key .. ':reasons')
    call('ZREM', P .. 'held', id)
    call('ZREM', P .. 'claims', id)
    call('SREM', P .. 'running', id)
    local f = read_hash(aside) or {}
    if f.hd and call('HGET', P .. 'handler:' .. f.hd, 'job') == id then call('HDEL', P .. 'handler:' .. f.hd, 'job') end
    if f.vm and call('HGET', P .. 'holders', f.vm) == id then call('HDEL', P .. 'holders', f.vm) end
    if tonumber(f.seq) then
        call('ZREM', P .. 'paused', member(f, id))
        call('ZREM', P .. 'quiet', member(f, id))
    end
    -- The group is known where the document still says so, or where the verb stumbled over it there.
    if tonumber(f.seq) and f.base and f.ent and f.own and f.repo then
        call('ZREM', P .. 'group:' .. group_of(f), member(f, id))
        keep_head(group_of(f), f)
    end
end

local function publish()
    local seen = {}
    for _, signal in ipairs(signals) do
        local message = cjson.encode(signal)
        -- A user who may not publish costs the fleet its wake-ups, not its jobs; the subscription says so.
        if not seen[message] then redis.pcall('PUBLISH', ARGV[2], message) end
        seen[message] = true
    end
end

-- Runs the verb. `reads` says that it writes nothing, not even the time.
local function main(verb, reads)
    local ok, answer = pcall(verb)
    if not ok then
        if type(answer) ~= 'table' then error(answer) end
        if answer.lost then return { 'lost', text(newer) } end
        if answer.broken then
            if answer.version > VERSION then return { 'newer', text(answer.version), answer.broken .. ' ' .. answer.id } end
            set_aside(answer.broken, answer.id)
            return { 'broken', text(newer), answer.broken .. ' ' .. answer.id, answer.why }
        end
        return answer
    end
    if not reads or ARGV[1] ~= '' then call('HSET', P .. 'meta', 'at', text(now), 'ahead', text(ahead)) end
    publish()
    return { 'ok', text(newer), answer or '' }
end
