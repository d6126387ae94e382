-- Keeps what another program left and nobody can read, where people find it for 30 days.
return main(function()
    local key = P .. 'broken:list:' .. a.list
    call('SADD', key, a.item)
    call('PEXPIRE', key, 30 * 86400000)
end)
