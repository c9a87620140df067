-- What we make where no label and no directory of ours tells of it: written down before it is made, struck out when it is gone.

CREATE TABLE ledger (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL,                -- upload: of many parts, to a bucket; file: in somebody's directory
    place       TEXT NOT NULL,                -- of an upload the bucket; of a file its path
    name        TEXT NOT NULL DEFAULT '',     -- of an upload the key
    mark        TEXT NOT NULL DEFAULT '',     -- of an upload its id, as soon as that is known
    owner       TEXT NOT NULL,                -- the process that makes it; empty: nobody is at it any more
    created     REAL NOT NULL                 -- epoch seconds
);

CREATE TABLE pulled (
    reference   TEXT PRIMARY KEY,             -- the name under which an image was pulled that was not on the host
    image       TEXT NOT NULL DEFAULT '',     -- its id; empty while it is being pulled
    used        REAL NOT NULL                 -- when a build last had it, in epoch seconds
);

CREATE INDEX builds_of_project ON builds (project, created DESC);
CREATE INDEX requests_of_build ON requests (build);
