"""Outbox: events that were stored with the change that they tell of, and have still to be delivered."""

from __future__ import annotations

from agent.model.event import BuildEvent
from agent.store.database import Database


class Outbox:
    """Events in the order in which they happened; every sink reads them at its own pace, at least once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, event: BuildEvent) -> None:
        """Append an event. Call it inside the transaction that stores the change."""
        self._database.execute(
            "INSERT INTO outbox (build, kind, created, document) VALUES (?,?,?,?)",
            event.build.id,
            event.kind,
            event.at,
            event.model_dump_json(),
        )

    def pending(self, sink: str, limit: int = 100) -> list[tuple[int, BuildEvent]]:
        """Return the next events for *sink* with their sequence numbers, oldest first."""
        return [
            (int(seq), BuildEvent.model_validate_json(document))
            for seq, document in self._database.rows(
                "SELECT seq, document FROM outbox "
                "WHERE seq > coalesce((SELECT seq FROM deliveries WHERE sink = ?), 0) ORDER BY seq LIMIT ?",
                sink,
                limit,
            )
        ]

    def count(self, sink: str) -> int:
        """Return how many events *sink* has still to be told."""
        row = self._database.row(
            "SELECT count(*) FROM outbox WHERE seq > coalesce((SELECT seq FROM deliveries WHERE sink = ?), 0)", sink
        )
        return int(row[0]) if row else 0

    def delivered(self, sink: str, seq: int) -> None:
        """Remember that *sink* has everything up to *seq*."""
        self._database.execute(
            "INSERT INTO deliveries (sink, seq) VALUES (?, ?) "
            "ON CONFLICT (sink) DO UPDATE SET seq = max(seq, excluded.seq)",
            sink,
            seq,
        )

    def prune(self, sinks: list[str], before: float) -> int:
        """Drop events older than *before* that every one of *sinks* has; return how many."""
        marks = [
            int(row[0]) if (row := self._database.row("SELECT seq FROM deliveries WHERE sink = ?", sink)) else 0
            for sink in sinks
        ]
        oldest = min(marks) if marks else 2**62
        return self._database.execute("DELETE FROM outbox WHERE seq <= ? AND created < ?", oldest, before)
