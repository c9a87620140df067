-- Builds that have ended, and whose log some sink has not got whole.

ALTER TABLE builds ADD COLUMN owing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX builds_owing ON builds (created) WHERE owing = 1;
