-- Takes or renews the lease on a name, and marks late claims; `a.gone` is the process that the caller knows to have ended on its own host.
return main(function()
    local key = P .. 'lease:' .. a.name
    local known = call('HMGET', key, 'host', 'process', 'until')
    local is_until = tonumber(known[3] or '0')
    local is_ours = known[1] == a.host and (known[2] == a.process or known[2] == a.gone)
    if known[1] and is_until > now and not is_ours then
        return { known[1], known[2], text(is_until - now) }
    end
    call('HSET', key, 'host', a.host, 'process', a.process, 'until', text(now + tonumber(a.life)))
    call('PEXPIRE', key, text(tonumber(a.life) + 86400000))
    mark_late()
    call('HSET', P .. 'hosts', a.host, text(now))
    return ''
end)
