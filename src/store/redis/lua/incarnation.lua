-- Which server this is, and whose writes it has: a restart changes the first, a replica that takes over the second too.
return main(function()
    local words = {}
    for _, part in ipairs({ 'server', 'replication' }) do
        local info = redis.pcall('INFO', part)
        if type(info) == 'table' then return info.err end
        words[#words + 1] = string.match(info, 'run_id:(%x+)') or string.match(info, 'master_replid:(%x+)')
    end
    return words
end, true)
