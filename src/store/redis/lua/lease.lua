-- Takes or renews leases on names, and marks late claims; answers the holder of each, or '' where that is the caller. `gone` of a lease is the
-- process that the caller knows to have ended on its own host.
local n_ours = 0

local function take(lease)
    local key, life = P .. 'lease:' .. lease.name, tonumber(lease.life)
    local known = call('HMGET', key, 'host', 'process', 'until')
    local is_until = tonumber(known[3] or '0')
    local is_ours = known[1] == lease.host and (known[2] == lease.process or known[2] == lease.gone)
    if known[1] and is_until > now and not is_ours then
        return { known[1], known[2], text(is_until - now) }
    end
    call('HSET', key, 'host', lease.host, 'process', lease.process, 'until', text(now + life))
    call('PEXPIRE', key, text(life + 86400000))
    n_ours = n_ours + 1
    return ''
end

return main(function()
    local answers = {}
    for n, lease in ipairs(a.leases) do answers[n] = take(lease) end
    if n_ours == 0 then return answers end
    if a.mark then
        for _, job in ipairs(late_jobs()) do
            if not job.f.mk then mark(job) end
        end
    end
    -- All are of one process.
    call('HSET', P .. 'hosts', a.leases[1].host, text(now))
    return answers
end)
