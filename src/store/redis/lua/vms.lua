-- All VM records of a host.
return main(function()
    local records = {}
    for _, name in ipairs(call('SMEMBERS', P .. 'vms:' .. a.host)) do
        local hash = redis.pcall('HGETALL', P .. 'vm:' .. name)
        if hash.err then broken('vm', name, hash.err) end
        if #hash > 0 then records[#records + 1] = { name, hash } end
    end
    return records
end, true)
