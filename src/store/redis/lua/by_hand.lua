-- What a person at the command line asks for; '0' if the job is unknown or not where that makes sense.
return main(function()
    local job = get_job(a.id)
    if not job then return '0' end
    if a.what == 'say' then
        note(job, a.text)
        put_job(job)
    elseif a.what == 'retry' then
        if job.f.spot ~= 'q' and job.f.spot ~= 'h' then return '0' end
        move(job, 'q')
        for name, value in pairs(copy(job.f)) do
            if string.match(name, '^host:') then
                local view = host_view(value)
                local is_empty = view.failures == 0 and view.once == '0'
                job.f[name] = not is_empty and text(view.failures) .. ' 0 ' .. view.once or nil
            end
        end
        note(job, 'retried by hand')
        put_job(job)
        tell_all()
    else
        note(job, 'removed by hand')
        if job.f.phase ~= '2' then remember(job) end
        lose(job)
        remove_job(job)
        bury(job.id, job.f.att)
    end
    return '1'
end)
