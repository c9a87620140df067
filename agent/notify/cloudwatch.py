"""CloudWatch: metrics under CodeBuild's names, units and dimensions, in a namespace of our own (service.md 7).

A dashboard ports by replacing the namespace. Beside CodeBuild's metrics there are FaultedBuilds, TimedOutBuilds and
StoppedBuilds, StartLatency (seconds from SUBMITTED to the first command) and CacheHit (0 or 1). A build's id is never a
dimension here: each would be a metric of its own, to be paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.aws import translated
from agent.errors import AwsUnavailable
from agent.model.build import Build
from agent.model.event import BuildEvent
from agent.model.phase import Phase, PhaseType
from agent.model.status import Status
from agent.notify.delivery import Clients
from agent.notify.permission import naming

MOST_METRICS = 1000
_MOST_BYTES = 900_000
_DATUM_BYTES = 800
_VALUE_BYTES = 24
"""What a datum and each of its values take at most, with names of the usual lengths."""

_ENDED = {
    Status.SUCCEEDED: "SucceededBuilds",
    Status.FAILED: "FailedBuilds",
    Status.TIMED_OUT: "FailedBuilds",
    Status.FAULT: "FaultedBuilds",
    Status.STOPPED: "StoppedBuilds",
}

Datum = dict[str, Any]
_Sample = tuple[str, str, float]
"""Name, unit and value."""


@dataclass
class CloudWatch:
    """A Sink: `PutMetricData` to one namespace. A page fits in one call, which AWS takes as a whole or not at all."""

    clients: Clients
    namespace: str
    name: str = "cloudwatch"
    page: int = 100

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises `AwsUnavailable`, `AwsRefused`."""
        put(self.clients, self.namespace, [datum for event in events for datum in metrics(event)])


def put(clients: Clients, namespace: str, data: Sequence[Datum]) -> None:
    """Send *data*, as much in a call as one takes. Raises `AwsUnavailable`, `AwsRefused`."""
    client, rest = clients.client("cloudwatch"), list(data)
    while rest:
        count = one_call(rest)
        with naming(permission(namespace)), translated("cloudwatch:PutMetricData"):
            answer = client.put_metric_data(Namespace=namespace, MetricData=rest[:count])
        _check_sender(answer)
        del rest[:count]


def one_call(data: Iterable[Datum]) -> int:
    """Return how many of *data*, from the first on, one call takes: 1000 metrics and 1 MB (service.md 7.2). Pure."""
    count, size = 0, 0
    for datum in data:
        size += _DATUM_BYTES + _VALUE_BYTES * len(datum.get("Values", ()))
        if count == MOST_METRICS or (count and size > _MOST_BYTES):
            break
        count += 1
    return count


def permission(namespace: str) -> str:
    """Return what to do about a refusal."""
    return f"allow the host's role cloudwatch:PutMetricData for the namespace {namespace}, as aws/agent-policy.yml does"


def _check_sender(answer: Mapping[str, Any]) -> None:
    """Raise when a proxy's page came back: the real answer is empty, so botocore takes any for it."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if str(headers.get("content-type", "")).startswith("text/html"):
        raise AwsUnavailable(
            "cloudwatch:PutMetricData: the answer is not CloudWatch's", hint="check the endpoint and the proxy"
        )


def metrics(event: BuildEvent) -> list[Datum]:
    """Return the `MetricDatum`s of an event, each for its project and once more for all. Pure."""
    at = datetime.fromtimestamp(event.at, UTC)
    project = [{"Name": "ProjectName", "Value": event.build.project.name}]
    return [
        {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Value": value, "Unit": unit}
        for name, unit, value in _samples(event)
        for dimensions in (project, [])
    ]


def _samples(event: BuildEvent) -> Iterator[_Sample]:
    build = event.build
    if event.kind == "phase":
        ended = build.phase(event.completed_phase or build.current_phase)
        yield from _phase_duration(ended)
        if latency := start_latency(event):
            yield ("StartLatency", "Seconds", latency)
    elif build.complete:
        yield from _end(build)
    else:
        yield ("Builds", "Count", 1.0)
        yield from _phase_duration(build.phase(PhaseType.SUBMITTED))


def _end(build: Build) -> Iterator[_Sample]:
    """Yield what is counted at the end. A time-out counts as failed; a stopped build has no Duration (7.1, 7.3)."""
    yield (_ENDED[build.status], "Count", 1.0)
    if build.status is Status.TIMED_OUT or (build.status is Status.FAILED and build.timed_out):
        yield ("TimedOutBuilds", "Count", 1.0)
    if build.cache.restored in ("hit", "miss"):
        yield ("CacheHit", "Count", float(build.cache.restored == "hit"))
    if build.status is not Status.STOPPED and build.end_time is not None:
        yield ("Duration", "Seconds", _seconds(build.start_time, build.end_time))


def start_latency(event: BuildEvent) -> float | None:
    """Return the seconds from SUBMITTED to the first command, at the event that says that DOWNLOAD_SOURCE is done."""
    phase = event.build.phase(PhaseType.DOWNLOAD_SOURCE) if event.kind == "phase" else None
    if phase is None or event.completed_phase is not PhaseType.DOWNLOAD_SOURCE or phase.end_time is None:
        return None
    return _seconds(event.build.start_time, phase.end_time) if phase.phase_status is Status.SUCCEEDED else None


def _phase_duration(phase: Phase | None) -> Iterator[_Sample]:
    if phase and phase.end_time is not None:
        name = "".join(word.capitalize() for word in phase.phase_type.value.split("_"))
        yield (f"{name}Duration", "Seconds", _seconds(phase.start_time, phase.end_time))


def _seconds(start: float, end: float) -> float:
    return round(max(0.0, end - start), 3)
