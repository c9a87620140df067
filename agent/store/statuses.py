"""Statuses: what git hosts have still to be told of commits, the latest state of each thing alone."""

from __future__ import annotations

from collections.abc import Iterable

from agent.model.commitstatus import CommitStatus
from agent.store.database import Database


class Statuses:
    """A small table; a status that nobody has taken yet is replaced by the next one of the same key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, statuses: Iterable[CommitStatus]) -> None:
        """Store *statuses* in their order, all or none."""
        with self._database.transaction():
            for status in statuses:
                self._database.execute(
                    "INSERT INTO statuses (key, host, created, document) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (key) DO UPDATE "
                    "SET host = excluded.host, created = excluded.created, document = excluded.document",
                    status.key,
                    status.host,
                    status.at,
                    status.model_dump_json(),
                )

    def hosts(self) -> list[str]:
        """Return the names of the hosts that have still to be told something."""
        return [str(host) for (host,) in self._database.rows("SELECT DISTINCT host FROM statuses")]

    def waiting(self, host: str, limit: int = 100) -> list[CommitStatus]:
        """Return what *host* has still to be told, oldest first."""
        rows = self._database.rows(
            "SELECT document FROM statuses WHERE host = ? ORDER BY created, key LIMIT ?", host, limit
        )
        return [CommitStatus.model_validate_json(document) for (document,) in rows]

    def get(self, key: str) -> CommitStatus | None:
        """Return what is still to be told of *key*, or None."""
        row = self._database.row("SELECT document FROM statuses WHERE key = ?", key)
        return None if row is None else CommitStatus.model_validate_json(row[0])

    def drop(self, status: CommitStatus) -> None:
        """Forget *status*, unless a newer one has taken its place."""
        self._database.execute(
            "DELETE FROM statuses WHERE key = ? AND document = ?", status.key, status.model_dump_json()
        )

    def prune(self, before: float) -> int:
        """Forget what is older than *before*, and whose host took it from nobody; return how many."""
        return self._database.execute("DELETE FROM statuses WHERE created < ?", before)
