"""Cursors: the last revision that a trigger has seen of a source."""

from __future__ import annotations

from agent.store.database import Database


class Cursors:
    """A small table of texts under keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """Return the value under *key*, or None."""
        row = self._database.row("SELECT value FROM cursors WHERE key = ?", key)
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        """Store *value* under *key*."""
        self._database.execute(
            "INSERT INTO cursors (key, value, updated) VALUES (?, ?, (julianday('now') - 2440587.5) * 86400) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated = excluded.updated",
            key,
            value,
        )
