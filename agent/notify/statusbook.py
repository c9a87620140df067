"""StatusBook: takes commit statuses out of the outbox into a table of their own, where the latest state wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.model.event import BuildEvent
from agent.notify.commit import commit_status
from agent.store.statuses import Statuses


@dataclass
class StatusBook:
    """A Sink that can be down only with the database itself; so one git host holds up no other (see `StatusDesk`)."""

    statuses: Statuses
    name: str = "commit status"
    page: int = 100

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises `Unavailable` while the database is locked."""
        self.statuses.put(status for event in events if (status := commit_status(event)))
