"""Queue: builds that wait or run. Work is claimed with a lease, so that a dead owner's work can be taken over."""

from __future__ import annotations

from dataclasses import dataclass

from agent.store.database import Database


@dataclass(frozen=True)
class Place:
    """The place of one build in the queue. `owner` is empty while it waits; `stop` is why it is to end."""

    build: str
    project: str
    source_ref: str | None
    enqueued: float
    owner: str
    stop: str


class Queue:
    """The table of waiting and running builds; a build leaves it when it has ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, build: str, project: str, source_ref: str | None, at: float) -> None:
        """Put a build at the end."""
        self._database.execute(
            "INSERT INTO queue (build, project, source_ref, enqueued) VALUES (?,?,?,?)", build, project, source_ref, at
        )

    def places(self) -> list[Place]:
        """Return every place, oldest first."""
        return [
            Place(build, project, ref, enqueued, owner or "", stop or "")
            for build, project, ref, enqueued, owner, stop in self._database.rows(
                "SELECT build, project, source_ref, enqueued, owner, stop FROM queue ORDER BY enqueued, rowid"
            )
        ]

    def claim(self, build: str, owner: str, at: float, lease: float) -> bool:
        """Take a build to work on it for *lease* seconds; False when somebody else has a live lease on it."""
        changed = self._database.execute(
            "UPDATE queue SET owner = ?2, lease_until = ?3 + ?4 "
            "WHERE build = ?1 AND (owner IS NULL OR owner = ?2 OR lease_until < ?3)",
            build,
            owner,
            at,
            lease,
        )
        return changed == 1

    def renew(self, owner: str, at: float, lease: float) -> None:
        """Keep the leases of *owner* alive."""
        self._database.execute("UPDATE queue SET lease_until = ? WHERE owner = ?", at + lease, owner)

    def release(self, build: str) -> None:
        """Let go of a build that has not ended; somebody may claim it at once."""
        self._database.execute("UPDATE queue SET owner = NULL, lease_until = NULL WHERE build = ?", build)

    def ask_to_stop(self, build: str, reason: str) -> bool:
        """Remember that a build is to end; the first reason stays. False when it has ended."""
        changed = self._database.execute("UPDATE queue SET stop = coalesce(stop, ?) WHERE build = ?", reason, build)
        return changed == 1

    def stop_reason(self, build: str) -> str:
        """Return why a build is to end, or the empty text."""
        row = self._database.row("SELECT stop FROM queue WHERE build = ?", build)
        return str(row[0]) if row and row[0] else ""

    def remove(self, build: str) -> None:
        """Take a build out; it has ended."""
        self._database.execute("DELETE FROM queue WHERE build = ?", build)
