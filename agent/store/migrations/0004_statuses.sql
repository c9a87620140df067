-- What the git hosts have still to be told of commits: the latest state of each build, and of nothing else.

CREATE TABLE statuses (
    key          TEXT PRIMARY KEY,            -- what it is the status of; a newer one takes the place of the older
    host         TEXT NOT NULL,               -- who is to be told
    created      REAL NOT NULL,               -- epoch seconds
    document     TEXT NOT NULL                -- the CommitStatus, as JSON
);
CREATE INDEX statuses_of_host ON statuses (host, created);
