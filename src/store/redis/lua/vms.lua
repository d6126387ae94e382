-- All VM records of a host.
return main(function() return read_vms(call('SMEMBERS', P .. 'vms:' .. a.host)) end, true)
