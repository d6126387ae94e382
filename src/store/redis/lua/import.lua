-- A job that another program had in its queue, with the tries behind it; in progress where its VM may be running it.
return main(function()
    local ended = tonumber(call('GET', P .. 'ended:' .. a.id) or '-1')
    if ended >= tonumber(a.att) or get_job(a.id) then return end
    local is_queued = a.phase == '0'
    local job = new_job(a.phase, is_queued and 'q' or 'r')
    job.f.tries = a.tries
    note(job, 'adopted from the Go program')
    put_job(job)
    if is_queued then tell_all() end
end)
