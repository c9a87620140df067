"""Requests: which build a dedupe key or a start token stands for, so that asking twice is one build."""

from __future__ import annotations

from agent.store.database import Database


class Requests:
    """The table of remembered keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str, since: float = 0.0) -> tuple[str, str] | None:
        """Return (build id, fingerprint) stored under *key* at or after *since*, or None."""
        row = self._database.row("SELECT build, fingerprint FROM requests WHERE key = ? AND created >= ?", key, since)
        return None if row is None else (str(row[0]), str(row[1]))

    def remember(self, key: str, build: str, fingerprint: str, at: float) -> None:
        """Store what *key* stands for."""
        self._database.execute(
            "INSERT OR REPLACE INTO requests (key, build, fingerprint, created) VALUES (?,?,?,?)",
            key,
            build,
            fingerprint,
            at,
        )

    def prune(self, before: float) -> int:
        """Forget what is older than *before*; return how many keys."""
        return self._database.execute("DELETE FROM requests WHERE created < ?", before)
