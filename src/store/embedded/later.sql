-- What is here is made also in files that were there before it. Notices come down by themselves; what is remembered of ended jobs
-- (`ended/ID`) is among them.
CREATE TABLE IF NOT EXISTS notices (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS notices_by_end ON notices (until);
CREATE INDEX IF NOT EXISTS jobs_running ON jobs (queue, seq) WHERE grp IS NULL AND due IS NULL AND handler IS NULL;
-- When each host last had a lease.
CREATE TABLE IF NOT EXISTS hosts (
    queue INTEGER NOT NULL,
    host TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (queue, host)
) WITHOUT ROWID;
