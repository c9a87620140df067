-- What the result files of builds say. A report goes when it has expired, and a group with its last report.

CREATE TABLE report_groups (
    arn          TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    type         TEXT NOT NULL,               -- TEST or CODE_COVERAGE, for good
    created      REAL NOT NULL,               -- epoch seconds
    modified     REAL NOT NULL                -- when a build last reported to it
);

CREATE TABLE reports (
    arn          TEXT PRIMARY KEY,
    report_group TEXT NOT NULL REFERENCES report_groups (arn),
    status       TEXT NOT NULL,
    created      REAL NOT NULL,
    expired      REAL NOT NULL,               -- when it goes
    document     TEXT NOT NULL                -- the Report, as JSON
);
CREATE INDEX reports_by_age ON reports (created DESC);
CREATE INDEX reports_of_group ON reports (report_group, created DESC);
CREATE INDEX reports_by_end ON reports (expired);

CREATE TABLE report_details (
    report       TEXT PRIMARY KEY REFERENCES reports (arn) ON DELETE CASCADE,
    document     BLOB NOT NULL                -- the ReportDetails, as JSON, compressed by zlib
);
