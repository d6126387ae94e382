-- At most `a.limit` jobs that are in one kind of place.
local limit = tonumber(a.limit)

-- The oldest of the groups whose heads are the oldest: no others can be among the first.
local function queued()
    local groups, found = {}, {}
    for _, group in ipairs(call('HKEYS', P .. 'groups')) do
        local head = call('ZRANGE', P .. 'group:' .. group, 0, 0, 'WITHSCORES')
        if head[1] then groups[#groups + 1] = { group = group, age = tonumber(head[2]), member = head[1] } end
    end
    local function is_first(one, other)
        if one.age ~= other.age then return one.age < other.age end
        return one.member < other.member
    end
    table.sort(groups, is_first)
    for n = 1, math.min(#groups, limit) do
        local members = call('ZRANGE', P .. 'group:' .. groups[n].group, 0, limit - 1, 'WITHSCORES')
        for m = 1, #members, 2 do found[#found + 1] = { age = tonumber(members[m + 1]), member = members[m] } end
    end
    table.sort(found, is_first)
    local jobs = due_jobs()
    for n = 1, math.min(#found, limit) do
        local job = get_job(string.sub(found[n].member, 18))
        if job and job.f.spot == 'q' then jobs[#jobs + 1] = job end
    end
    table.sort(jobs, function(one, other) return is_before(one.f, other.f) end)
    return jobs
end

local function by_ids(ids, spot)
    local jobs = {}
    for _, id in ipairs(ids) do
        local job = get_job(id)
        if job and job.f.spot == spot then jobs[#jobs + 1] = job end
    end
    return jobs
end

return main(function()
    local jobs
    if a.spot == 'q' then
        jobs = queued()
    elseif a.spot == 'h' then
        jobs = by_ids(call('ZRANGEBYSCORE', P .. 'held', '(' .. text(now), '+inf', 'LIMIT', 0, limit), 'h')
    elseif a.spot == 'c' then
        jobs = by_ids(call('ZRANGE', P .. 'claims', 0, limit - 1), 'c')
    else
        jobs = by_ids(call('SRANDMEMBER', P .. 'running', limit), 'r')
    end
    local entries = {}
    for n = 1, math.min(#jobs, limit) do entries[n] = entry_of(jobs[n]) end
    return entries
end, true)
