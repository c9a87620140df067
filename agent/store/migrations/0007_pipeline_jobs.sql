-- Jobs that CodePipeline handed to this agent, and how far each is. Credentials of a job are never stored.

CREATE TABLE pipeline_jobs (
    job         TEXT PRIMARY KEY,
    state       TEXT NOT NULL,                -- taken, building, telling, continuing, done
    build       TEXT,                         -- the build that is made for it
    changed     REAL NOT NULL,                -- epoch seconds
    document    TEXT NOT NULL                 -- the StoredJob, as JSON
);
CREATE INDEX pipeline_jobs_open ON pipeline_jobs (state) WHERE state <> 'done';
CREATE INDEX pipeline_jobs_by_build ON pipeline_jobs (build);
