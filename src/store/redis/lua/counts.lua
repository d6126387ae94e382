-- How many jobs are where. A job that is due is queued, though nobody has moved it yet.
return main(function()
    local groups = {}
    local function add(group, n)
        local base = string.match(group, '^[^\n]*')
        groups[#groups + 1] = base
        groups[#groups + 1] = text(n)
    end
    for _, group in ipairs(call('HKEYS', P .. 'groups')) do add(group, call('ZCARD', P .. 'group:' .. group)) end
    for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'held', '-inf', now)) do
        local job = get_job(id)
        if job then add(job.f.base, 1) end
    end
    return {
        'held', text(call('ZCOUNT', P .. 'held', '(' .. text(now), '+inf')), 'claimed', text(call('ZCARD', P .. 'claims')),
        'running', text(call('SCARD', P .. 'running')), 'vms', text(call('HLEN', P .. 'vms')), 'groups', groups,
    }
end, true)
