"""Hooks: deliveries that were taken, events that need a longer look, pull requests that wait for approval."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from agent.store.database import Database

MOST_DELIVERIES = 200_000
"""Deliveries that are remembered at most, the newest ones."""


@dataclass(frozen=True)
class Pending:
    """An event that needs a longer look on behalf of one project. `document` is its JSON; times are epoch seconds."""

    id: int
    project: str
    document: str
    created: float
    attempts: int


class Hooks:
    """The tables of webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what is stored in the block, builds included; it outlives a power cut."""
        return self._database.transaction(lasting=True)

    def seen(self, keys: Iterable[str], since: float) -> bool:
        """Whether a delivery under one of *keys* was taken at or after *since*."""
        query = "SELECT 1 FROM hook_deliveries WHERE key = ? AND created >= ?"
        return any(self._database.row(query, key, since) for key in keys)

    def remember(self, keys: Iterable[str], at: float) -> None:
        """Store that a delivery was taken."""
        for key in keys:
            self._database.execute("INSERT OR REPLACE INTO hook_deliveries (key, created) VALUES (?, ?)", key, at)

    def put_off(self, project: str, document: str, at: float) -> None:
        """Store an event that needs a longer look."""
        self._database.execute(
            "INSERT INTO hook_backlog (project, document, created, due) VALUES (?,?,?,?)", project, document, at, at
        )

    def due(self, now: float, limit: int = 100) -> list[Pending]:
        """Return the events whose turn it is, oldest turn first.

        One that came later than *now* came by a clock that was ahead: it would wait until that hour comes again.
        """
        return [
            Pending(int(row[0]), str(row[1]), str(row[2]), float(row[3]), int(row[4]))
            for row in self._database.rows(
                "SELECT id, project, document, created, attempts FROM hook_backlog "
                "WHERE due <= ?1 OR created > ?1 ORDER BY due, id LIMIT ?2",
                now,
                limit,
            )
        ]

    def try_again(self, pending: Pending, due: float) -> None:
        """Have another look at an event at *due*."""
        self._database.execute(
            "UPDATE hook_backlog SET attempts = attempts + 1, due = ? WHERE id = ?", due, pending.id
        )  # fmt: skip

    def done(self, pending: Pending) -> None:
        """Forget an event that was judged."""
        self._database.execute("DELETE FROM hook_backlog WHERE id = ?", pending.id)

    def backlog(self) -> int:
        """Return how many events need a longer look."""
        return int((self._database.row("SELECT count(*) FROM hook_backlog") or (0,))[0])

    def await_approval(self, project: str, number: int, document: str, at: float) -> None:
        """Store the event that is built once somebody approves pull request *number*; it replaces an older one."""
        self._database.execute(
            "INSERT OR REPLACE INTO hook_waiting (project, number, document, created) VALUES (?,?,?,?)",
            project,
            number,
            document,
            at,
        )

    def waiting(self, project: str, number: int) -> str | None:
        """Return the event of a pull request that waits for approval, as JSON."""
        row = self._database.row("SELECT document FROM hook_waiting WHERE project = ? AND number = ?", project, number)
        return None if row is None else str(row[0])

    def prune(self, deliveries_before: float, waiting_before: float) -> None:
        """Forget deliveries and waiting pull requests that are older, and more deliveries than are kept."""
        execute = self._database.execute
        execute("DELETE FROM hook_deliveries WHERE created < ?", deliveries_before)
        execute(
            "DELETE FROM hook_deliveries WHERE created <= "
            "(SELECT created FROM hook_deliveries ORDER BY created DESC LIMIT 1 OFFSET ?)",
            MOST_DELIVERIES,
        )
        execute("DELETE FROM hook_waiting WHERE created < ?", waiting_before)
