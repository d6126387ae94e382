-- Prolongs claims and marks late ones; answers the places in the list of those that do not hold any more.
return main(function()
    local gone = {}
    for n, key in ipairs(a.keys) do
        local job = job_of(key.handler)
        if job and is_claimed(job) and job.f.hd == key.handler and job.f.fn == key.fence then
            renew_hold(job)
            put_job(job)
        else
            gone[#gone + 1] = n - 1
        end
    end
    mark_late()
    return gone
end)
