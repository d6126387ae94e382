-- Writes a VM record in the place of the one with its name, whose unknown fields stay.
return main(function()
    local record = get_vm(a.vm) or { name = a.vm, f = {} }
    local rank_before = record.f._rank
    local version = math.max(tonumber(record.f.v or 0), VERSION)
    for _, name in ipairs(a.none) do record.f[name] = nil end
    for name, value in pairs(a.fields) do record.f[name] = value end
    record.f.v = text(version)
    if a.handler then
        local job = held(a.handler, a.fence)
        renew_hold(job)
        job.f.vm = a.vm
        if rank_before ~= record.f._rank then note_of_hold(job, 'stage ' .. a.stage) end
        -- The claim has moved since the handler looked.
        if record.f._job and record.f._job ~= job.id then name_job(record, job.id, job.f) end
        put_job(job)
    end
    put_vm(record)
end)
