-- Webhooks: deliveries that were taken, what of them still needs a longer look, and pull requests that wait for approval.

CREATE TABLE hook_deliveries (
    key          TEXT PRIMARY KEY,            -- the host's id of a delivery, or the sum of its body
    created      REAL NOT NULL                -- epoch seconds
);
CREATE INDEX hook_deliveries_by_age ON hook_deliveries (created);

CREATE TABLE hook_backlog (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    project      TEXT NOT NULL,
    document     TEXT NOT NULL,               -- the Event, as JSON
    created      REAL NOT NULL,
    due          REAL NOT NULL,               -- when it is looked at (again)
    attempts     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX hook_backlog_by_turn ON hook_backlog (due);

CREATE TABLE hook_waiting (
    project      TEXT NOT NULL,
    number       INTEGER NOT NULL,            -- of the pull request
    document     TEXT NOT NULL,               -- the Event that is built once somebody approves it, as JSON
    created      REAL NOT NULL,
    PRIMARY KEY (project, number)
);
CREATE INDEX hook_waiting_by_age ON hook_waiting (created);
