"""CloudWatch: metrics under CodeBuild's names, units and dimensions, in a namespace of our own (service.md 7).

A dashboard ports by replacing the namespace. Beside CodeBuild's metrics there are FaultedBuilds, TimedOutBuilds and
StoppedBuilds. A build's id is never a dimension: each would be a metric of its own, to be paid for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

MOST_METRICS = 1000

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
        data = [datum for event in events for datum in metrics(event)]
        client = self.clients.client("cloudwatch")
        for first in range(0, len(data), MOST_METRICS):
            with translated("cloudwatch:PutMetricData"):
                answer = client.put_metric_data(Namespace=self.namespace, MetricData=data[first : first + MOST_METRICS])
            _check_sender(answer)


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
    if build.status is not Status.STOPPED and build.end_time is not None:
        yield ("Duration", "Seconds", _seconds(build.start_time, build.end_time))


def _phase_duration(phase: Phase | None) -> Iterator[_Sample]:
    if phase and phase.end_time is not None:
        name = "".join(word.capitalize() for word in phase.phase_type.value.split("_"))
        yield (f"{name}Duration", "Seconds", _seconds(phase.start_time, phase.end_time))


def _seconds(start: float, end: float) -> float:
    return round(max(0.0, end - start), 3)
