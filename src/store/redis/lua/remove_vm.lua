-- Forgets a VM; no claim has it any more.
return main(function()
    local job = get_job(call('HGET', P .. 'holders', a.vm))
    local host = call('HGET', P .. 'vms', a.vm)
    call('DEL', P .. 'vm:' .. a.vm)
    call('HDEL', P .. 'vms', a.vm)
    if host then call('SREM', P .. 'vms:' .. host, a.vm) end
    if job and job.f.vm == a.vm then
        job.f.vm = nil
        put_job(job)
    end
end)
