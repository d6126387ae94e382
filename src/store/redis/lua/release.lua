-- Gives a lease up, if this holder has it.
return main(function()
    local key = P .. 'lease:' .. a.name
    local known = call('HMGET', key, 'host', 'process')
    if known[1] == a.host and known[2] == a.process then call('DEL', key) end
end)
