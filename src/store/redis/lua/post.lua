-- Puts a notice up for a while, or takes it down. The same text again only prolongs it.
return main(function()
    local key, life = P .. 'notice:' .. a.key, tonumber(a.life)
    if life == 0 then
        call('DEL', key)
        call('ZREM', P .. 'notices', a.key)
        return
    end
    local known = call('HMGET', key, 'text', 'since', 'until')
    local is_same = known[1] == a.text and tonumber(known[3] or '0') > now
    call('HSET', key, 'text', a.text, 'since', is_same and known[2] or text(now), 'until', text(now + life))
    -- Times may be a test's: the index tells what is up, this only that nothing stays for ever.
    call('PEXPIRE', key, text(life + 86400000))
    call('ZADD', P .. 'notices', text(now + life), a.key)
    for _, gone in ipairs(call('ZRANGEBYSCORE', P .. 'notices', '-inf', now, 'LIMIT', 0, 100)) do
        call('DEL', P .. 'notice:' .. gone)
        call('ZREM', P .. 'notices', gone)
    end
end)
