-- The job is over: the entry goes, a tombstone stays.
return main(function()
    end_claim(function(job)
        remove_job(job)
        bury(job.id, job.f.att)
    end)
end)
