-- VM records of hosts that have had no lease for so long; those that the caller has told of are forgotten.
local N_RECORDS = 100
local before = now - tonumber(a.silence)
local seen = {}

-- A host that never had a lease is silent from now on.
local function is_silent(host)
    if not seen[host] then
        call('HSETNX', P .. 'hosts', host, text(now))
        seen[host] = tonumber(call('HGET', P .. 'hosts', host))
    end
    return seen[host] <= before
end

return main(function()
    for _, name in ipairs(a.told) do
        local host = call('HGET', P .. 'vms', name)
        if host and is_silent(host) then remove_vm(name) end
    end
    local hosts = call('HGETALL', P .. 'hosts')
    for n = 1, #hosts, 2 do
        if tonumber(hosts[n + 1]) <= before and call('SCARD', P .. 'vms:' .. hosts[n]) == 0 then call('HDEL', P .. 'hosts', hosts[n]) end
    end
    local names, vms = {}, call('HGETALL', P .. 'vms')
    for n = 1, #vms, 2 do
        if is_silent(vms[n + 1]) and #names < N_RECORDS then names[#names + 1] = vms[n] end
    end
    return read_vms(names)
end)
