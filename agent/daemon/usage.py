"""Usage: what running builds use of CPU, memory, disk and network, sampled beside them (service.md 7.1)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agent.container import cgroups
from agent.container.cgroups import Cgroup, Sample
from agent.kit.clock import Clock
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.pipeline.job import Job

SAMPLE_SECONDS = 10.0
LEAST_SECONDS = 60.0
"""A build that has been seen for less than this has no figures of its own, as with CodeBuild."""
MOST_VALUES = 360
"""Values of one figure that are kept of a build while nobody takes them: those of an hour."""
_UNITS_OF_A_CPU = 1024
_MEGABYTE = 1 << 20
_SEARCHES = 3
"""How often the cgroup of a container is looked for; a container that was just made has none yet."""


@dataclass
class Totals:
    """What the builds of a project have used since this daemon was started; `memory` is what they have now."""

    cpu_seconds: float = 0.0
    memory: int = 0
    read: int = 0
    written: int = 0
    received: int = 0
    sent: int = 0


@dataclass(frozen=True)
class Figures:
    """What a build used lately: name of the metric -> its values, one a sample."""

    build: str
    number: int
    project: str
    values: Mapping[str, tuple[float, ...]]


@dataclass
class _Meter:
    """One running build."""

    build: Build
    container: str
    since: float
    group: Cgroup | None = None
    searches: int = 0
    last: tuple[float, Sample] | None = None
    values: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Usage:
    """A Service. `jobs` are the builds that run now; `find` finds the cgroup of a container."""

    jobs: Callable[[], Mapping[str, Job]]
    clock: Clock
    find: Callable[[str], Cgroup | None] = cgroups.find
    name: str = "usage"
    _meters: dict[str, _Meter] = field(default_factory=dict)
    _ended: list[Figures] = field(default_factory=list)
    _totals: dict[str, Totals] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, stop: StopToken) -> None:
        """Sample until *stop*."""
        while not stop.is_set:
            self.look()
            self.clock.wait(SAMPLE_SECONDS, stop)

    def look(self) -> None:
        """Take one sample of every running build."""
        running = {name: (job.build, job.container) for name, job in self.jobs().items()}
        now = self.clock.monotonic()
        with self._lock:
            for name in [name for name in self._meters if name not in running]:
                self._ended += self._figures([self._meters.pop(name)], now)
            del self._ended[:-MOST_VALUES]
            for totals in self._totals.values():
                totals.memory = 0
            for name, (build, container) in running.items():
                if container is not None:
                    self._measure(self._meter(name, build, container, now), now)

    def take(self) -> list[Figures]:
        """Return what has been seen since this was called last, of builds that took long enough, and forget it."""
        with self._lock:
            now = self.clock.monotonic()
            found = self._ended + self._figures(self._meters.values(), now)
            self._ended = []
            return found

    def totals(self) -> dict[str, Totals]:
        """Return what the builds of each project have used."""
        with self._lock:
            return {project: Totals(**vars(totals)) for project, totals in self._totals.items()}

    def _meter(self, name: str, build: Build, container: str, now: float) -> _Meter:
        meter = self._meters.get(name)
        if meter is None or meter.container != container:
            meter = self._meters[name] = _Meter(build, container, now)
        return meter

    def _measure(self, meter: _Meter, now: float) -> None:
        if meter.group is None and meter.searches < _SEARCHES:
            meter.searches += 1
            meter.group = self.find(meter.container)
        sample = meter.group.sample() if meter.group else None
        if sample is None:
            return
        totals = self._totals.setdefault(meter.build.project.name, Totals())
        totals.memory += sample.memory
        if meter.last is not None:
            before, old = meter.last
            _add(totals, old, sample)
            for figure, value in rates(old, sample, now - before).items():
                kept = meter.values.setdefault(figure, [])
                kept.append(value)
                del kept[:-MOST_VALUES]
        meter.last = (now, sample)

    def _figures(self, meters: Iterable[_Meter], now: float) -> list[Figures]:
        found = []
        for meter in meters:
            if now - meter.since < LEAST_SECONDS or not meter.values:
                continue
            values = {name: tuple(kept) for name, kept in meter.values.items()}
            meter.values = {}
            found.append(Figures(meter.build.id, meter.build.number, meter.build.project.name, values))
        return found


def rates(old: Sample, new: Sample, seconds: float) -> dict[str, float]:
    """Return CodeBuild's figures for what happened between two samples, and two of the network. Pure."""
    if seconds <= 0:
        return {}
    cpus = max(0.0, new.cpu - old.cpu) / seconds
    found = {
        "CPUUtilized": cpus * _UNITS_OF_A_CPU,
        "CPUUtilizedPercent": 100.0 * cpus / new.cpus,
        "MemoryUtilized": new.memory / _MEGABYTE,
        "MemoryUtilizedPercent": 100.0 * new.memory / max(1, new.memory_limit),
        "StorageReadBytes": max(0, new.read - old.read) / seconds,
        "StorageWriteBytes": max(0, new.written - old.written) / seconds,
    }
    if new.received is not None and old.received is not None and new.sent is not None and old.sent is not None:
        found["NetworkReceiveBytes"] = max(0, new.received - old.received) / seconds
        found["NetworkTransmitBytes"] = max(0, new.sent - old.sent) / seconds
    return {name: round(value, 3) for name, value in found.items()}


def _add(totals: Totals, old: Sample, new: Sample) -> None:
    totals.cpu_seconds += max(0.0, new.cpu - old.cpu)
    totals.read += max(0, new.read - old.read)
    totals.written += max(0, new.written - old.written)
    totals.received += max(0, (new.received or 0) - (old.received or 0))
    totals.sent += max(0, (new.sent or 0) - (old.sent or 0))
