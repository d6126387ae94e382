-- All that is known of one job: what it is, how many come before it, and how it ended.

-- How many members of a group come before this one. Those of one age, of which there may be very many, are in the order of their texts:
-- halving finds the place among them.
local function n_before(key, age, own)
    local low = call('ZCOUNT', key, '-inf', '(' .. age)
    local high = low + call('ZCOUNT', key, age, age)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if call('ZRANGE', key, middle, middle)[1] < own then low = middle + 1 else high = middle end
    end
    return low
end

local function ahead_of(job)
    local f = job.f
    local is_due = f.spot == 'h' and tonumber(f.due) <= now
    if f.spot ~= 'q' and not is_due then return false end
    local in_group, in_queue, age, own = 0, 0, text(tonumber(f.age)), member(f, job.id)
    for _, group in ipairs(call('HKEYS', P .. 'groups')) do
        local n = n_before(P .. 'group:' .. group, age, own)
        in_queue = in_queue + n
        if string.match(group, '^[^\n]*') == f.base then in_group = in_group + n end
    end
    for _, other in ipairs(due_jobs()) do
        if is_before(other.f, f) then
            in_queue = in_queue + 1
            if other.f.base == f.base then in_group = in_group + 1 end
        end
    end
    return { text(in_group), text(in_queue) }
end

local function last_of(id)
    local f = read_hash(P .. 'last:' .. id)
    if not f then return false end
    return {
        'id', id, 'v', f.v, 'job', f.job, 'phase', f.phase, 'runner', f.runner or false, 'concl', f.concl or false,
        'tries', f.tries, 'spot', 'r', 'history', call('LRANGE', P .. 'last:' .. id .. ':history', 0, -1),
    }
end

return main(function()
    local job = get_job(a.id)
    return {
        'at', text(now), 'entry', job and entry_of(job) or false, 'ahead', job and ahead_of(job) or false,
        'ended', call('GET', P .. 'ended:' .. a.id) or false, 'last', last_of(a.id),
    }
end, true)
