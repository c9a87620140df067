"""Prometheus: the one door to prometheus-client; the figures that CloudWatch gets, for whoever scrapes `/metrics`.

Counters begin at nothing when the daemon starts, as Prometheus expects. Labels are names of projects, of which
there are `MOST_PROJECTS` at most, and words out of lists; never a build, a branch or a message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agent.daemon.standing import Standing
from agent.daemon.usage import Totals
from agent.model.event import BuildEvent
from agent.model.phase import Phase, PhaseType
from agent.model.status import Status
from agent.notify.cloudwatch import start_latency

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MOST_PROJECTS = 200
OTHERS = "(others)"
"""Stands for the projects beyond `MOST_PROJECTS`."""
_BUILD_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
_START_BUCKETS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True)
class Moment:
    """Where the figures come from that are read when somebody asks. `started` is in epoch seconds."""

    standing: Callable[[], Standing]
    usage: Callable[[], Mapping[str, Totals]]
    healthy: Callable[[], bool]
    version: str
    started: float


@dataclass
class Prometheus:
    """A Sink that counts, and what is shown to a scraper. Any thread may ask `page_for`."""

    moment: Moment
    name: str = "prometheus"
    page: int = 100
    _projects: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises nothing."""
        with self._lock:
            for event in events:
                self._count(event)

    def page_for(self, accept: str) -> tuple[bytes, str]:
        """Return the figures, and their content type: OpenMetrics for who says that it accepts that, else text."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        with self._lock:
            registry = self._counts.registry
        return encode(registry), content_type

    @cached_property
    def _counts(self) -> _Counts:
        """The counters; made when they are first needed, and not while the daemon starts."""
        return _Counts(self.moment, self._label)

    def _label(self, project: str) -> str:
        """Return *project* as a label; the projects that came first keep theirs."""
        if project not in self._projects and len(self._projects) >= MOST_PROJECTS:
            return OTHERS
        self._projects.add(project)
        return project

    def _count(self, event: BuildEvent) -> None:
        build, counts = event.build, self._counts
        project = self._label(build.project.name)
        if event.kind == "phase":
            counts.phase(project, build.phase(event.completed_phase or build.current_phase))
            if latency := start_latency(event):
                counts.latency.observe(latency)
        elif not build.complete:
            counts.builds.labels(project).inc()
            counts.phase(project, build.phase(PhaseType.SUBMITTED))
        else:
            counts.ended.labels(project, build.status.value).inc()
            if build.cache.restored in ("hit", "miss"):
                counts.caches.labels(project, build.cache.restored).inc()
            if build.status is not Status.STOPPED and build.end_time is not None:
                counts.duration.labels(project).observe(max(0.0, build.end_time - build.start_time))


class _Counts:
    """The counters and the registry that they are in."""

    def __init__(self, moment: Moment, label: Callable[[str], str]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

        self.registry: CollectorRegistry = CollectorRegistry()
        own: dict[str, Any] = {"namespace": "buildspecd", "registry": self.registry}
        self.builds = Counter("builds", "Builds that were asked for.", ["project"], **own)
        self.ended = Counter("builds_ended", "Builds that ended, by status.", ["project", "status"], **own)
        self.caches = Counter("cache_restores", "Builds with a cache: hit or miss.", ["project", "result"], **own)
        self.duration = Histogram(
            "build_duration_seconds", "Length of a build.", ["project"], buckets=_BUILD_BUCKETS, **own
        )
        self.latency = Histogram(
            "start_latency_seconds", "From SUBMITTED to the first command.", buckets=_START_BUCKETS, **own
        )
        self.phases = Summary("phase_duration_seconds", "Length of a phase.", ["project", "phase"], **own)
        self.registry.register(_Now(moment, label))

    def phase(self, project: str, phase: Phase | None) -> None:
        """Count a phase that has ended."""
        if phase is not None and phase.end_time is not None:
            self.phases.labels(project, phase.phase_type.value).observe(max(0.0, phase.end_time - phase.start_time))


@dataclass(frozen=True)
class _Now:
    """A collector of what is read when somebody asks."""

    moment: Moment
    label: Callable[[str], str]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to register, nothing need be read."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of this moment."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        standing = self.moment.standing()
        yield _labelled(
            GaugeMetricFamily("buildspecd_info", "The version that runs.", labels=["version"]),
            {self.moment.version: 1.0},
        )
        for name, text, value in self._plain(standing):
            yield GaugeMetricFamily(f"buildspecd_{name}", text, value=value)
        rooms = {str(place): room for place, room in standing.disks.items()}
        for name, text, numbers in (
            ("free", "Bytes free where builds write.", {place: float(room.free) for place, room in rooms.items()}),
            ("size", "Bytes of the disk there.", {place: float(room.total) for place, room in rooms.items()}),
        ):
            yield _labelled(GaugeMetricFamily(f"buildspecd_disk_{name}_bytes", text, labels=["place"]), numbers)
        waiting = {sink: float(count) for sink, count in standing.untold.items()}
        yield _labelled(
            GaugeMetricFamily("buildspecd_untold_events", "Events that a sink has yet to take.", labels=["sink"]),
            waiting,
        )
        usage = self._usage()
        memory = GaugeMetricFamily("buildspecd_build_memory_bytes", "Memory of running builds.", labels=["project"])
        yield _labelled(memory, {project: float(one.memory) for project, one in usage.items()})
        for name, text, read in _USED:
            family = CounterMetricFamily(f"buildspecd_build_{name}", text, labels=["project"])
            yield _labelled(family, {project: read(one) for project, one in usage.items()})

    def _plain(self, standing: Standing) -> Iterator[tuple[str, str, float]]:
        yield ("healthy", "1 as long as every service of the agent runs.", float(self.moment.healthy()))
        yield ("start_time_seconds", "When the daemon was started.", self.moment.started)
        yield ("queue_depth", "Builds that wait.", float(standing.queued))
        yield ("running_builds", "Builds that run.", float(standing.running))
        yield ("oldest_queued_seconds", "How long the oldest of those has waited.", max(0.0, standing.oldest_wait))
        yield ("log_lag_bytes", "Bytes of logs that a sink has yet to get.", float(standing.log_lag))

    def _usage(self) -> dict[str, Totals]:
        """Return what projects used, those beyond the limit added up."""
        found: dict[str, Totals] = {}
        for project, one in self.moment.usage().items():
            label = self.label(project)
            before = found.get(label, Totals())
            found[label] = Totals(
                *(old + new for old, new in zip(vars(before).values(), vars(one).values(), strict=True))
            )
        return found


_USED: tuple[tuple[str, str, Callable[[Totals], float]], ...] = (
    ("cpu_seconds", "CPU time of builds.", lambda one: one.cpu_seconds),
    ("storage_read_bytes", "Bytes that builds read from disks.", lambda one: float(one.read)),
    ("storage_write_bytes", "Bytes that builds wrote to disks.", lambda one: float(one.written)),
    (
        "network_receive_bytes",
        "Bytes that came to builds in a network of their own.",
        lambda one: float(one.received),
    ),
    ("network_transmit_bytes", "Bytes that such builds sent.", lambda one: float(one.sent)),
)


def _labelled(family: Any, values: Mapping[str, float]) -> Metric:
    """Return *family* with *values* by its one label."""
    for label, value in values.items():
        family.add_metric([label], value)
    found: Metric = family
    return found
