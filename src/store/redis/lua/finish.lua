-- The job is over: the entry goes, a tombstone stays.
return main(function()
    end_claim(function(job)
        if job.f.phase ~= '2' then
            job.f.phase, job.f.concl = '2', a.concl
            note(job, 'completed')
        end
        remove_job(job)
        bury(job.id, job.f.att)
    end)
end)
