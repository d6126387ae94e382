CREATE TABLE clock (at INTEGER NOT NULL);
INSERT INTO clock VALUES (0);

CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fence INTEGER NOT NULL DEFAULT 0);

-- One row for each group that has queued jobs. `tag` is empty without a tag, else ':' and the tag.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    owner TEXT NOT NULL,
    repo TEXT NOT NULL,
    template TEXT NOT NULL,
    tag TEXT NOT NULL,
    enterprise TEXT NOT NULL,
    head_age INTEGER NOT NULL,
    head_seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX groups_by_key ON groups (queue, owner, repo, template, tag, enterprise);
CREATE INDEX groups_by_age ON groups (queue, head_age, head_seq);
CREATE INDEX groups_of_owner ON groups (queue, owner, head_age, head_seq);
CREATE INDEX groups_of_repo ON groups (queue, owner, repo, head_age, head_seq);

-- `doc` is the job; the other columns repeat what queries need. `grp` is set while it is queued, `due` while it is held, `handler`
-- and `vm` while it is claimed, `quiet` while it is not: since when nothing was heard of it, and later if it was asked about.
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    job INTEGER NOT NULL,
    version INTEGER NOT NULL,
    age INTEGER NOT NULL,
    grp INTEGER,
    due INTEGER,
    handler TEXT,
    vm TEXT,
    avoids TEXT,
    quiet INTEGER,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX jobs_by_id ON jobs (queue, job);
CREATE INDEX jobs_by_group ON jobs (grp, age, seq) WHERE grp IS NOT NULL;
CREATE INDEX jobs_by_due ON jobs (queue, due) WHERE due IS NOT NULL;
CREATE INDEX jobs_by_handler ON jobs (queue, handler) WHERE handler IS NOT NULL;
CREATE INDEX jobs_by_vm ON jobs (queue, vm) WHERE vm IS NOT NULL;
CREATE INDEX jobs_by_silence ON jobs (queue, quiet) WHERE quiet IS NOT NULL;

CREATE TABLE tombstones (queue INTEGER NOT NULL, job INTEGER NOT NULL, run_attempt INTEGER NOT NULL, ended_at INTEGER NOT NULL);
CREATE UNIQUE INDEX tombstones_by_id ON tombstones (queue, job);
CREATE INDEX tombstones_by_age ON tombstones (ended_at);

-- What is remembered of a handler: the fence of the last claim that it ended itself, and the life its claims have.
CREATE TABLE handlers (
    queue INTEGER NOT NULL,
    name TEXT NOT NULL,
    ended_fence INTEGER,
    life_ms INTEGER,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;

CREATE TABLE vms (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, vm TEXT NOT NULL, host TEXT NOT NULL, doc TEXT NOT NULL);
CREATE UNIQUE INDEX vms_by_name ON vms (queue, vm);
CREATE INDEX vms_by_host ON vms (queue, host, vm);

CREATE TABLE leases (
    queue INTEGER NOT NULL,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    process TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;

-- Short texts that plugins remember beyond a restart.
CREATE TABLE notes (queue INTEGER NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (queue, key)) WITHOUT ROWID;

-- Documents that could not be read.
CREATE TABLE broken (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    doc,
    why TEXT NOT NULL,
    at INTEGER NOT NULL
);
