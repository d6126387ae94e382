-- A claim on the job that the record of a VM names, so that its handler can watch on.
return main(function()
    local record = get_vm(a.vm)
    if not record then return '' end
    local own = job_of(a.handler)
    if own and own.f.hd == a.handler then
        if own.f.vm ~= a.vm then return '' end
        renew_hold(own)
        put_job(own)
        return claim_of(own, true)
    end
    local job = get_job(record.f._job)
    if not job or job.f.spot ~= 'r' or job.f.runner and job.f.runner ~= a.vm then return '' end
    local life = call('HGET', P .. 'handler:' .. a.handler, 'life') or a.life
    local hold = new_hold(a.handler, record.f._host, life)
    hold.vm = a.vm
    begin_claim(job, hold, 'adopted')
    put_job(job)
    return claim_of(job, true)
end)
