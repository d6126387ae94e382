-- A job with its history.
return main(function()
    local job = get_job(a.id)
    return job and entry_of(job) or ''
end, true)
