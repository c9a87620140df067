"""Policy: which waiting builds start now. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.store.queue import Place


@dataclass(frozen=True)
class Limits:
    """How many builds may run at once: on this host, and of one project (None: as many as the host)."""

    total: int
    of_project: Callable[[str], int | None]


def ready(waiting: Iterable[Place], running: Sequence[Place], limits: Limits) -> Iterator[Place]:
    """Yield the builds to start, oldest first, without passing a limit.

    A project at its limit does not hold up the others behind it.
    """
    busy = Counter(place.project for place in running)
    free = limits.total - len(running)
    for place in waiting:
        if free <= 0:
            return
        most = limits.of_project(place.project)
        if most is None or busy[place.project] < most:
            busy[place.project] += 1
            free -= 1
            yield place


def superseded(newer: Place, places: Iterable[Place], rule: str) -> Iterator[Place]:
    """Yield the builds of the same branch that *newer* makes needless (`agent.supersede`)."""
    if rule == "none" or newer.source_ref is None:
        return
    for place in places:
        same = place.project == newer.project and place.source_ref == newer.source_ref
        if same and place.build != newer.build and (rule == "running" or not place.owner):
            yield place
