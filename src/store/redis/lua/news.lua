-- Here B is the job that the news is about. The runner that the news names may be the VM of a claim that was made for another job, A:
-- GitHub decides by labels which job a runner gets. The rules are those of `embedded/news.rs`, word for word.
local RUNNING = 7

-- Whether the news says more than is known. Webhooks come late and doubled; the API's word is the truth of its moment.
local function moves(f)
    if a.phase > f.phase then return true end
    if a.phase < f.phase then return a.api end
    if not a.runner then return false end
    if not f.runner then return true end
    return a.api and f.runner ~= a.runner
end

-- Whether the VM that was made for B, whose runner was `runner_before`, can run A instead.
local function can_run(record, other, runner_before)
    if not record then return false end
    local f = record.f
    local is_free = other.f.phase == '0' and tonumber(f._rank) < RUNNING and f._job and runner_before ~= record.name
    if not is_free or not covers(cjson.decode(f._scope), other.f) then return false end
    local has = {}
    for _, label in ipairs(cjson.decode(f._labels)) do has[label] = true end
    for _, asked in ipairs(cjson.decode(other.f.labels)) do
        if not has[asked] then return false end
    end
    return true
end

return main(function()
    local ended = tonumber(call('GET', P .. 'ended:' .. a.id) or '-1')
    local known, runner, other, own_vm = get_job(a.id), nil, nil, nil
    local name = a.runner or (known and known.f.runner)
    if name then
        runner = get_vm(name)
        other = runner and get_job(call('HGET', P .. 'holders', name))
        if other and other.id == a.id then other = nil end
        own_vm = known and get_vm(known.f.vm)
    end
    local attempt = tonumber(a.att)
    if ended >= attempt then return 'ended' end
    if not known and not a.for_us and not runner then return 'not_ours' end
    if known then
        local before = tonumber(known.f.att)
        if before > attempt then return 'known' end
        if before < attempt then
            own_vm = nil
            lose(known)
            remove_job(known)
            known = nil
        elseif not moves(known.f) then
            return 'known'
        end
    end

    -- The claim on A has a VM, and that VM runs B: the claim goes to B. Whoever was preparing B gets A, if its VM can run it.
    local function swap(job, runner_before)
        local fits = can_run(own_vm, other, runner_before)
        local moving = take_hold(other)
        if not moving then return end
        local displaced
        if fits then displaced = take_hold(job) else displaced = lose(job) end
        if not displaced then job.f.tries = text(tonumber(job.f.tries) + 1) end
        tell(moving.hd, 'started', { job = job.id })
        moving.tk = nil
        place(job, moving, 'claimed')
        if displaced and fits then
            tell(displaced.hd, 'retry')
            displaced.tk = nil
            place(other, displaced, 'claimed')
            name_job(own_vm, other.id, other.f)
            put_vm(own_vm)
            put_job(other)
        else
            let_go(other)
        end
    end

    -- B runs, on `runner_name` if that is known.
    local function begin(runner_name)
        local job = known or new_job('1', 'r')
        local runner_before = known and known.f.runner
        job.f.phase, job.f.runner, job.f.concl = '1', runner_name, nil
        note(job, 'in_progress')
        if not runner_name then
            if is_claimed(job) then tell(job.f.hd, 'retry') else move(job, 'r') end
            return job
        end
        if runner then
            name_job(runner, job.id, job.f)
            put_vm(runner)
            if is_claimed(job) and job.f.vm == runner.name then
                tell(job.f.hd, 'started', { job = job.id })
                return job
            end
        end
        if other then
            swap(job, runner_before)
            return job
        end
        if lose(job) then uncount(job) end
        move(job, 'r')
        if runner then tell(runner.f._plugin, 'vm', { vm = runner.name }) end
        return job
    end

    if a.phase == '0' then
        if not known then
            local job = new_job('0', 'q')
            note(job, 'queued')
            put_job(job)
            tell_all()
            return 'enqueued'
        end
        known.f.phase, known.f.runner, known.f.concl = '0', nil, nil
        note(known, 'queued')
        if is_claimed(known) then
            tell(known.f.hd, 'retry')
        else
            move(known, 'q')
            tell_all()
        end
        hear(known)
        put_job(known)
    elseif a.phase == '1' then
        local job = begin(a.runner)
        hear(job)
        put_job(job)
    else
        -- The end of a job tells for the first time which runner it had, if news was lost or late.
        local job, runner_known = known, known and known.f.runner
        local unwatched = not other and runner
        if a.runner and a.runner ~= runner_known then job = begin(a.runner) end
        if job then
            job.f.phase, job.f.runner, job.f.concl = '2', a.runner or runner_known, a.concl
            note(job, 'completed')
            if is_claimed(job) then
                tell(job.f.hd, 'finish', { job = job.id, concl = a.concl })
                hear(job)
                put_job(job)
            else
                if unwatched then tell(unwatched.f._plugin, 'vm', { vm = unwatched.name }) end
                remove_job(job)
            end
        end
        bury(a.id, a.att)
    end
    return 'moved'
end)
