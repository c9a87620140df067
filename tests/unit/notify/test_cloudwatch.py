"""CloudWatch: CodeBuild's metrics, counted once for the project and once for all."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.errors import AwsUnavailable
from agent.model.build import CacheRecord
from agent.model.event import BuildEvent
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.notify.cloudwatch import MOST_METRICS, CloudWatch, metrics
from agent.notify.delivery import Delivery
from agent.store.outbox import Outbox
from tests.unit.notify.builds import told_by
from tests.unit.notify.conftest import Answer, ScriptedAws
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, a_project, finished, started

PROJECT = [{"Name": "ProjectName", "Value": "web"}]


def named(*events: BuildEvent) -> dict[str, float]:
    """Return name and value of what *events* add to the totals of the account."""
    data = [datum for event in events for datum in metrics(event)]
    return {datum["MetricName"]: datum["Value"] for datum in data if not datum["Dimensions"]}


def test_a_good_build_has_every_metric_of_codebuild() -> None:
    assert named(*told_by(a_build())) == {
        "Builds": 1.0,
        "SubmittedDuration": 0.0,
        "QueuedDuration": 1.5,
        "ProvisioningDuration": 1.5,
        "DownloadSourceDuration": 1.5,
        "StartLatency": 4.5,
        "InstallDuration": 1.5,
        "PreBuildDuration": 1.5,
        "BuildDuration": 1.5,
        "PostBuildDuration": 1.5,
        "UploadArtifactsDuration": 1.5,
        "FinalizingDuration": 1.5,
        "SucceededBuilds": 1.0,
        "Duration": 13.5,
    }


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (Status.SUCCEEDED, {"SucceededBuilds", "Duration"}),
        (Status.FAILED, {"FailedBuilds", "Duration"}),
        (Status.TIMED_OUT, {"FailedBuilds", "TimedOutBuilds", "Duration"}),
        (Status.FAULT, {"FaultedBuilds", "Duration"}),
        (Status.STOPPED, {"StoppedBuilds"}),
    ],
)
def test_the_end_of_a_build_is_counted_by_its_status(status: Status, counted: set[str]) -> None:
    end = told_by(a_build(), status)[-1]
    assert set(named(end)) == counted


def test_a_build_that_waited_too_long_counts_as_failed_and_as_timed_out() -> None:
    assert set(named(finished(a_build(), NOON + 9, Status.TIMED_OUT))) == {"FailedBuilds", "TimedOutBuilds", "Duration"}


@pytest.mark.parametrize(("restored", "value"), [("hit", {1.0}), ("miss", {0.0}), ("off", set())])
def test_a_cache_that_was_looked_for_counts_as_hit_or_miss(restored: str, value: set[float]) -> None:
    told = named(finished(a_build(cache=CacheRecord(restored=restored)), NOON))
    assert {told[name] for name in told if name == "CacheHit"} == value


def test_a_source_that_cannot_be_had_is_no_start() -> None:
    events = told_by(a_build(), Status.FAILED, PhaseType.DOWNLOAD_SOURCE)
    assert "StartLatency" not in named(*events)


def test_a_refusal_names_the_permission_and_the_namespace(scripted: ScriptedAws) -> None:
    scripted.answer = lambda _: (403, "application/json", {"__type": "AccessDenied", "message": "no"})
    with pytest.raises(AwsRefused) as refused:
        CloudWatch(scripted, "acme/ci").deliver([started(a_build())])
    assert "cloudwatch:PutMetricData for the namespace acme/ci" in refused.value.hint


def test_a_fault_is_never_counted_as_the_users_failure() -> None:
    assert "FailedBuilds" not in named(*told_by(a_build(), Status.FAULT))


def test_a_metric_is_for_the_project_and_once_more_for_all_and_never_for_a_build() -> None:
    for event in told_by(a_build()):
        data = metrics(event)
        assert [datum["Dimensions"] for datum in data] == [PROJECT, []] * (len(data) // 2)


def test_a_datum_has_the_units_of_codebuild_and_the_time_of_its_event() -> None:
    data = [datum for event in told_by(a_build()) for datum in metrics(event)]
    assert {datum["Unit"] for datum in data if datum["MetricName"].endswith("Duration")} == {"Seconds"}
    assert {datum["Unit"] for datum in data if datum["MetricName"].endswith("Builds")} == {"Count"}
    assert data[0]["Timestamp"] == datetime(2017, 9, 1, 16, 12, 29, tzinfo=UTC)


def test_a_clock_that_went_back_makes_no_negative_duration() -> None:
    build = a_build().left(NOON - 5, Status.SUCCEEDED)
    event = BuildEvent(kind="phase", at=NOON - 5, build=build, completed_phase=PhaseType.QUEUED)
    assert named(event) == {"QueuedDuration": 0.0}


class Namespace:
    """A namespace of its own, and what CloudWatch says about it."""

    def __init__(self, aws: Aws) -> None:
        self.name = f"t{uuid.uuid4().hex}"
        self._client = aws.client("cloudwatch")

    def listed(self) -> set[tuple[str, str]]:
        """Return name and dimension (`ProjectName=web`, or nothing) of every metric."""
        found = self._client.list_metrics(Namespace=self.name)["Metrics"]
        return {
            (metric["MetricName"], ",".join(f"{item['Name']}={item['Value']}" for item in metric["Dimensions"]))
            for metric in found
        }

    def total(self, metric: str, project: str | None = None) -> tuple[float, float]:
        """Return the sum and the count of the samples of an hour around `NOON`."""
        around = datetime.fromtimestamp(NOON, UTC)
        dimensions = [{"Name": "ProjectName", "Value": project}] if project else []
        points: list[dict[str, Any]] = self._client.get_metric_statistics(
            Namespace=self.name,
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=around - timedelta(hours=1),
            EndTime=around + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points), sum(point["SampleCount"] for point in points)


def test_cloudwatch_counts_builds_by_project_and_in_all(aws: Aws) -> None:
    namespace = Namespace(aws)
    api = a_project("api")
    events = [*told_by(a_build(1)), *told_by(a_build(2), Status.FAILED), *told_by(a_build(1, project=api))]
    CloudWatch(aws, namespace.name).deliver(events)
    assert namespace.total("Builds", "web") == (2, 2)
    assert namespace.total("Builds", "api") == (1, 1)
    assert namespace.total("FailedBuilds", "web") == (1, 1)
    assert namespace.total("BuildDuration", "api") == (1.5, 1)


def test_cloudwatch_lists_each_metric_twice_and_none_of_a_single_build(aws: Aws) -> None:
    namespace = Namespace(aws)
    CloudWatch(aws, namespace.name).deliver([event for number in (1, 2, 3) for event in told_by(a_build(number))])
    listed = namespace.listed()
    assert {dimension for _, dimension in listed} == {"", "ProjectName=web"}
    assert len(listed) == 2 * 14


def test_through_the_outbox_each_event_is_counted_once(aws: Aws, tmp_path: Path) -> None:
    namespace = Namespace(aws)
    outbox = Outbox(a_database(tmp_path))
    for number in range(1, 31):
        outbox.add(started(a_build(number)))
    sink = CloudWatch(aws, namespace.name, page=7)
    delivery = Delivery(sink, outbox, ManualClock())
    while outbox.pending(sink.name):
        assert delivery.turn() == 0.0
    assert namespace.total("Builds", "web") == (30, 30)


def test_a_full_page_is_one_call_so_that_it_is_taken_as_a_whole_or_not_at_all(scripted: ScriptedAws) -> None:
    most = max(len(metrics(event)) for status in list(Status)[1:] for event in told_by(a_build(), status))
    sink = CloudWatch(scripted, "n")
    assert most * sink.page <= MOST_METRICS
    sink.deliver([finished(a_build(), NOON, Status.TIMED_OUT)] * sink.page)
    assert len(scripted.requests) == 1
    assert len(scripted.requests[0]) < 1_000_000


def test_more_than_a_page_is_several_calls(scripted: ScriptedAws) -> None:
    CloudWatch(scripted, "n").deliver([started(a_build())] * 300)
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, "text/html", "<html>not implemented</html>"),
        (200, "text/html", "<html>a proxy's log-in page</html>"),
        (429, "text/plain", "slow down"),
        None,
    ],
)
def test_what_may_work_later_is_unavailable(scripted: ScriptedAws, answer: Answer) -> None:
    scripted.answer = lambda _: answer
    with pytest.raises(AwsUnavailable):
        CloudWatch(scripted, "n").deliver([started(a_build())])


def test_a_role_without_the_permission_is_refused(scripted: ScriptedAws) -> None:
    scripted.answer = lambda _: (403, "text/plain", "no")
    with pytest.raises(AwsRefused):
        CloudWatch(scripted, "n").deliver([started(a_build())])
