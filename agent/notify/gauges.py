"""Gauges: how the agent stands and what builds use, told to CloudWatch once a minute (service.md 7.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.aws import AwsRefused
from agent.daemon.standing import Standing
from agent.daemon.usage import Figures
from agent.errors import Unavailable, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.notify.cloudwatch import Datum, one_call, put
from agent.notify.delivery import Clients

_log = get_logger("notify")
EVERY_SECONDS = 60.0
MOST_KEPT = 10_000
"""Data that wait while CloudWatch takes none, the oldest of which go first: those of several hours."""
MOST_VALUES = 150
_UNITS = {"CPUUtilized": "None", "CPUUtilizedPercent": "Percent", "MemoryUtilizedPercent": "Percent"}
_SENSELESS = ("InvalidParameter", "MissingRequiredParameter", "ParamValidation", "ValidationError")
_Dimensions = list[dict[str, str]]


@dataclass
class Gauges:
    """A Service. `healthy` says whether the agent does its work: without it there is no heartbeat.

    Each figure of the agent is sent without a dimension, and once more with `AgentName`. `per_build` has what builds
    use sent with the dimensions `BuildId`, `BuildNumber` and `ProjectName` as well, each of which is to be paid for.
    """

    clients: Clients
    namespace: str
    agent_name: str
    standing: Callable[[], Standing]
    usage: Callable[[], Sequence[Figures]]
    healthy: Callable[[], bool]
    clock: Clock
    per_build: bool = False
    name: str = "cloudwatch gauges"
    trouble: str = ""
    _kept: deque[Datum] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    _dropped: int = 0

    def run(self, stop: StopToken) -> None:
        """Tell until *stop*, once a minute, however long telling takes."""
        due = self.clock.monotonic()
        while not stop.is_set:
            self.turn()
            due = max(due + EVERY_SECONDS, self.clock.monotonic() + 1.0)
            self.clock.wait(due - self.clock.monotonic(), stop)

    def turn(self) -> None:
        """Look, and tell that and what could not be told before."""
        at = datetime.fromtimestamp(self.clock.now(), UTC)
        fresh = [*self._of_agent(at), *data_of(self.usage(), at, per_build=self.per_build)]
        self._dropped += max(0, len(self._kept) + len(fresh) - MOST_KEPT)
        self._kept.extend(fresh)
        try:
            while self._kept:
                self._send([self._kept[place] for place in range(one_call(self._kept))])
        except (Unavailable, UserError) as error:
            if error.message != self.trouble:
                _log.warning("cannot tell CloudWatch how the agent stands", error=error.message, hint=error.hint)
            self.trouble = error.message
            return
        if self.trouble:
            _log.info("telling CloudWatch again", dropped=self._dropped)
        self.trouble, self._dropped = "", 0

    def _send(self, call: Sequence[Datum]) -> None:
        """Send *call*, and forget it; also where CloudWatch says that it makes no sense, and would say so for ever."""
        try:
            put(self.clients, self.namespace, call)
        except AwsRefused as error:
            if not error.reason.startswith(_SENSELESS):
                raise
            _log.error("CloudWatch does not understand figures, giving them up", count=len(call), error=error.message)
        for _ in call:
            self._kept.popleft()

    def _of_agent(self, at: datetime) -> Iterator[Datum]:
        standing = self.standing()
        named: _Dimensions = [{"Name": "AgentName", "Value": self.agent_name}]
        for name, unit, value in figures(standing, healthy=self.healthy()):
            for dimensions in (named, []):
                yield {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Value": value, "Unit": unit}


def figures(standing: Standing, *, healthy: bool) -> Iterator[tuple[str, str, float]]:
    """Yield name, unit and value of each figure of the agent. Pure."""
    if healthy:
        yield ("DaemonHeartbeat", "Count", 1.0)
    yield ("QueueDepth", "Count", float(standing.queued))
    yield ("RunningBuilds", "Count", float(standing.running))
    yield ("OldestQueuedSeconds", "Seconds", round(max(0.0, standing.oldest_wait), 3))
    yield ("LogLagBytes", "Bytes", float(standing.log_lag))
    if standing.untold:
        yield ("UntoldEvents", "Count", float(max(standing.untold.values())))
    if standing.free_percent is not None:
        yield ("HostDiskFreePercent", "Percent", round(standing.free_percent, 2))


def data_of(found: Iterable[Figures], at: datetime, *, per_build: bool = False) -> Iterator[Datum]:
    """Yield the data of what builds used: of each project, and of each build where that is wanted. Pure."""
    by_project: dict[tuple[str, str], list[float]] = {}
    for one in found:
        for name, values in one.values.items():
            by_project.setdefault((one.project, name), []).extend(values)
            if per_build:
                yield from _data(name, _of_build(one), at, values)
    for (project, name), together in by_project.items():
        yield from _data(name, [{"Name": "ProjectName", "Value": project}], at, together)


def _of_build(one: Figures) -> _Dimensions:
    texts = {"BuildId": one.build, "BuildNumber": str(one.number), "ProjectName": one.project}
    return [{"Name": name, "Value": text} for name, text in texts.items()]


def _data(name: str, dimensions: _Dimensions, at: datetime, values: Sequence[float]) -> Iterator[Datum]:
    """Yield data with every value in it, so that percentiles work."""
    unit = _UNITS.get(name) or ("Megabytes" if name == "MemoryUtilized" else "Bytes/Second")
    for first in range(0, len(values), MOST_VALUES):
        some = list(values[first : first + MOST_VALUES])
        yield {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Values": some, "Unit": unit}
