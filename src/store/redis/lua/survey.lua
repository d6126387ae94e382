-- What waits, by group, with the age of the oldest of each. A job that is due is queued, though nobody has moved it yet.
return main(function()
    local groups = {}
    local function add(base, n, age)
        groups[#groups + 1] = base
        groups[#groups + 1] = text(n)
        groups[#groups + 1] = text(age)
    end
    for _, group in ipairs(call('HKEYS', P .. 'groups')) do
        local key = P .. 'group:' .. group
        local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if head[1] then add(string.match(group, '^[^\n]*'), call('ZCARD', key), tonumber(head[2])) end
    end
    for _, job in ipairs(due_jobs()) do add(job.f.base, 1, tonumber(job.f.age)) end
    return {
        'at', text(now), 'held', text(call('ZCOUNT', P .. 'held', '(' .. text(now), '+inf')),
        'claimed', text(call('ZCARD', P .. 'claims')), 'running', text(call('SCARD', P .. 'running')),
        'vms', text(call('HLEN', P .. 'vms')), 'groups', groups,
    }
end, true)
