-- A job with its history.
return main(function()
    local job = get_job(a.id)
    if not job then return '' end
    local f = job.f
    return {
        'id', job.id, 'v', f.v, 'job', f.job, 'phase', f.phase, 'runner', f.runner or false, 'concl', f.concl or false,
        'tries', f.tries, 'spot', f.spot == 'h' and tonumber(f.due) <= now and 'q' or f.spot, 'due', f.due or false,
        'handler', f.hd or false, 'host', f.ht or false, 'paused', f.ps or false,
        'history', call('LRANGE', P .. 'job:' .. job.id .. ':history', 0, -1),
    }
end, true)
