-- Jobs that nobody holds and of which nothing was heard, the longest silent first; each counts as asked about.
local N_STEPS = 1000
local first, most, limit = tonumber(a.first), tonumber(a.most), tonumber(a.limit)

-- Once more after twice the time: `quiet` moves on by as much that it is found again then.
local function ask(f)
    local function next(waited) return math.min(waited * 2, most) end
    local waited = f.asked and next(tonumber(f.asked)) or first
    f.asked = text(waited)
    f.quiet = text(now + next(waited) - first)
end

return main(function()
    local jobs, all = {}, call('ZRANGEBYSCORE', P .. 'quiet', '-inf', now - first, 'LIMIT', 0, N_STEPS + limit)
    for _, found in ipairs(all) do
        if #jobs >= limit then break end
        local job = get_job(string.sub(found, 18))
        if not job then
            call('ZREM', P .. 'quiet', found)
        elseif tonumber(job.f.v) > VERSION then
            newer = math.max(newer, tonumber(job.f.v))
        elseif covers(a.scope, job.f) then
            ask(job.f)
            put_job(job)
            jobs[#jobs + 1] = { 'id', job.id, 'v', job.f.v, 'job', job.f.job }
        end
    end
    return jobs
end)
