-- The job goes back to its group, now or when it is due; unless GitHub has started or ended it meanwhile.
local function give_back(job)
    note_of_hold(job, 'given back: ' .. a.reason)
    local hold = take_hold(job)
    if job.f.phase ~= '0' then return let_go(job) end
    job.reasons[1] = a.reason
    local field = 'host:' .. hold.ht
    local view = host_view(job.f[field])
    if a.avoids then
        view.failures, view.avoid = view.failures + 1, now + tonumber(a.avoids)
    else
        view.failures, view.avoid = 0, 0
    end
    local counts = a.counted == 'yes' or a.counted == 'once' and view.once == '0'
    if a.counted == 'once' then view.once = '1' end
    if view.failures == 0 and view.avoid == 0 and view.once == '0' then
        job.f[field] = nil
    else
        job.f[field] = text(view.failures) .. ' ' .. text(view.avoid) .. ' ' .. view.once
    end
    if not counts then uncount(job) end
    local hold_ms = tonumber(a.hold)
    if hold_ms > 0 then move(job, 'h', text(now + hold_ms)) else move(job, 'q') end
    put_job(job)
    -- Told also of a held job, so that whoever waits learns when it is due.
    tell_all()
end

return main(function() end_claim(give_back) end)
