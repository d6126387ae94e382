-- Leaves a claimed job open to other hosts, or ends that.
return main(function()
    local job = held(a.handler, a.fence)
    local flag = a.paused and '1' or nil
    renew_hold(job)
    if job.f.ps ~= flag then
        job.f.ps = flag
        note_of_hold(job, a.paused and 'paused' or 'resumed')
        if a.paused then tell_all() end
    end
    put_job(job)
end)
