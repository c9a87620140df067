-- Builds, the queue with its leases, the outbox, and the cursors of the triggers.

CREATE TABLE builds (
    id          TEXT PRIMARY KEY,             -- project:uuid
    project     TEXT NOT NULL,
    number      INTEGER NOT NULL,             -- counts per project, from 1
    status      TEXT NOT NULL,
    source_ref  TEXT,                         -- refs/heads/x: what a newer build supersedes
    created     REAL NOT NULL,                -- epoch seconds
    document    TEXT NOT NULL,                -- the Build, as JSON
    UNIQUE (project, number)
);
CREATE INDEX builds_by_age ON builds (created DESC);
CREATE INDEX builds_open ON builds (status) WHERE status = 'IN_PROGRESS';

CREATE TABLE numbers (
    project     TEXT PRIMARY KEY,
    last        INTEGER NOT NULL
);

CREATE TABLE queue (
    build       TEXT PRIMARY KEY REFERENCES builds (id) ON DELETE CASCADE,
    project     TEXT NOT NULL,
    source_ref  TEXT,
    enqueued    REAL NOT NULL,
    owner       TEXT,                         -- who works on it; NULL while it waits
    lease_until REAL,                         -- after this the work may be taken over
    stop        TEXT                          -- why it is to end, once somebody asked
);
CREATE INDEX queue_by_age ON queue (enqueued);

CREATE TABLE requests (
    key         TEXT PRIMARY KEY,             -- dedupe key of a trigger, or token of a caller
    build       TEXT NOT NULL,
    fingerprint TEXT NOT NULL DEFAULT '',     -- of the request, to tell a repeated token from a misused one
    created     REAL NOT NULL
);

CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    build       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    created     REAL NOT NULL,
    document    TEXT NOT NULL                 -- the BuildEvent, as JSON
);

CREATE TABLE deliveries (
    sink        TEXT PRIMARY KEY,
    seq         INTEGER NOT NULL              -- everything up to here has been delivered to the sink
);

CREATE TABLE cursors (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL,
    updated     REAL NOT NULL
);
