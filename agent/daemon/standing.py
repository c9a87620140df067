"""Standing: how the agent stands at a moment, in figures; cheap enough to be asked for by whoever scrapes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.kit.clock import Clock
from agent.kit.room import Room, room_at
from agent.pipeline.job import Job
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.store.queue import Queue

FRESH_SECONDS = 1.0
"""For how long an answer holds, however often it is asked for."""


@dataclass(frozen=True)
class Standing:
    """Figures of one moment. `queued` and `running` are builds, `oldest_wait` seconds, `disks` the room at each place.

    `log_lag`: bytes of logs that a sink has still to get; `untold`: events that wait, by the sink that they wait for.
    """

    queued: int = 0
    running: int = 0
    oldest_wait: float = 0.0
    disks: Mapping[Path, Room] = field(default_factory=dict)
    log_lag: int = 0
    untold: Mapping[str, int] = field(default_factory=dict)

    @property
    def free_percent(self) -> float | None:
        """Which part of the fullest disk is free, in percent; None where no disk can be looked at."""
        parts = [100.0 * room.free / room.total for room in self.disks.values() if room.total]
        return min(parts, default=None)


@dataclass
class Surveyor:
    """Looks how the agent stands. Any thread may ask it. `disks` are where builds write, `sinks` who is told."""

    database: Database
    jobs: Callable[[], Mapping[str, Job]]
    disks: Callable[[], Sequence[Path]]
    sinks: Callable[[], Sequence[str]]
    clock: Clock
    _last: tuple[float, Standing] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> Standing:
        """Return how it stands now."""
        with self._lock:
            now = self.clock.monotonic()
            if self._last is None or now - self._last[0] >= FRESH_SECONDS:
                self._last = (now, self._look())
            return self._last[1]

    def _look(self) -> Standing:
        places = Queue(self.database).places()
        waiting = [place for place in places if not place.owner]
        outbox = Outbox(self.database)
        return Standing(
            queued=len(waiting),
            running=len(places) - len(waiting),
            oldest_wait=max((self.clock.now() - place.enqueued for place in waiting), default=0.0),
            disks=self._rooms(),
            log_lag=Builds(self.database).log_lag() + sum(map(_lag, self.jobs().values())),
            untold={sink: outbox.count(sink) for sink in self.sinks()},
        )

    def _rooms(self) -> dict[Path, Room]:
        rooms = {}
        for place in self.disks():
            try:
                rooms[place] = room_at(place)
            except OSError:  # the engine's alone, or not mounted yet
                continue
        return rooms


def _lag(job: Job) -> int:
    totals = job.transcript.totals()
    return sum(max(0, totals.bytes - delivered) for delivered in totals.delivered.values())
