-- Notices, which come down by themselves, and what is remembered of ended jobs (`ended/ID`). What is here is made also in files that were
-- there before it.
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
