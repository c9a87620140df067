"""EventBridge: what a rule delivers, and what becomes of entries that fail."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.errors import AwsUnavailable
from agent.model.event import BuildEvent
from agent.model.phase import PhaseContext
from agent.model.project import Environment, EnvironmentVariable
from agent.model.status import Status
from agent.notify.delivery import Delivery
from agent.notify.detail import detail
from agent.notify.eventbridge import EventBridge, entry, size
from agent.notify.letters import MOST_BYTES, MOST_ENTRIES, Letter, next_call
from agent.store.outbox import Outbox
from tests.unit.notify.builds import a_red_end, told_by
from tests.unit.notify.conftest import Answer, ScriptedAws
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, a_project, left, started

JSON = "application/x-amz-json-1.1"


class Wired:
    """A bus of its own, with a rule that delivers to a queue."""

    def __init__(self, aws: Aws, pattern: dict[str, Any]) -> None:
        name = f"t{uuid.uuid4().hex}"
        self.bus = name
        self._sqs = aws.client("sqs")
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events = aws.client("events")
        events.create_event_bus(Name=name)
        events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])

    def received(self) -> list[dict[str, Any]]:
        """Return and remove everything that is in the queue, in order."""
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return found


def summary(detail: dict[str, Any]) -> str:
    """Return what an event tells, in a word."""
    return str(detail.get("completed-phase") or f"{detail['current-phase']} {detail['build-status']}")


def test_a_rule_delivers_every_event_of_a_build_in_order(aws: Aws) -> None:
    wired = Wired(aws, {"source": ["buildspecd"]})
    events = told_by(a_build())
    EventBridge(aws, bus=wired.bus).deliver(events)
    received = wired.received()
    assert [summary(item["detail"]) for item in received] == [
        "SUBMITTED IN_PROGRESS",
        "QUEUED",
        "PROVISIONING",
        "DOWNLOAD_SOURCE",
        "INSTALL",
        "PRE_BUILD",
        "BUILD",
        "POST_BUILD",
        "UPLOAD_ARTIFACTS",
        "FINALIZING",
        "COMPLETED SUCCEEDED",
    ]
    assert received[0]["resources"] == [events[0].build.arn]
    assert received[0]["detail"] == detail(events[0])
    assert received[-1]["detail-type"] == "CodeBuild Build State Change"


def test_a_rule_for_codebuild_ports_by_its_source_alone(aws: Aws) -> None:
    pattern = {
        "source": ["aws.codebuild", "acme.builds"],
        "detail-type": ["CodeBuild Build State Change"],
        "detail": {"build-status": ["FAILED"], "project-name": ["web"]},
    }
    wired = Wired(aws, pattern)
    sink = EventBridge(aws, bus=wired.bus, source="acme.builds")
    sink.deliver([*told_by(a_build(1)), *told_by(a_build(2), Status.FAILED), *told_by(a_build(3), Status.FAULT)])
    assert [item["detail"]["additional-information"]["build-number"] for item in wired.received()] == [2]


def test_values_are_told_only_where_that_is_wanted(aws: Aws) -> None:
    for redact, value in ((True, "***"), (False, "hunter2")):
        wired = Wired(aws, {"source": ["buildspecd"]})
        EventBridge(aws, bus=wired.bus, redact=redact).deliver([a_red_end()])
        (received,) = wired.received()
        variables = received["detail"]["additional-information"]["environment"]["environment-variables"]
        assert variables[0] == {"name": "STAGE", "type": "PLAINTEXT", "value": value}


def test_an_entry_has_the_time_of_its_event_and_not_that_of_its_delivery() -> None:
    made = entry(started(a_build(at=NOON)), bus="default", source="buildspecd")
    assert made["Time"] == datetime(2017, 9, 1, 16, 12, 29, tzinfo=UTC)


def test_through_the_outbox_a_rule_is_told_of_a_whole_build(aws: Aws, tmp_path: Path) -> None:
    wired = Wired(aws, {"source": ["buildspecd"]})
    outbox = Outbox(a_database(tmp_path))
    for event in told_by(a_build()):
        outbox.add(event)
    delivery = Delivery(EventBridge(aws, bus=wired.bus), outbox, ManualClock())
    assert delivery.turn() == 0.0
    assert len(wired.received()) == 11
    assert outbox.pending("eventbridge") == []


class Bus:
    """Answers PutEvents like EventBridge: `failing` maps a build's number to the code that its entries fail with."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.failing: dict[int, str] = {}

    def __call__(self, request: Any) -> Answer:
        results = [self._take(json.loads(item["Detail"])) for item in request["Entries"]]
        failed = sum("ErrorCode" in result for result in results)
        return 200, JSON, {"FailedEntryCount": failed, "Entries": results}

    def _take(self, detail: dict[str, Any]) -> dict[str, str]:
        number = detail["additional-information"]["build-number"]
        if number in self.failing:
            return {"ErrorCode": self.failing[number], "ErrorMessage": "it says no"}
        self.taken.append(f"{number} {summary(detail)}")
        return {"EventId": str(len(self.taken))}


@pytest.fixture
def bus(scripted: ScriptedAws) -> Bus:
    bus = Bus()
    scripted.answer = bus
    return bus


def starts(*numbers: int) -> list[BuildEvent]:
    return [started(a_build(number)) for number in numbers]


def test_only_the_entries_that_failed_are_put_again(scripted: ScriptedAws, bus: Bus) -> None:
    sink = EventBridge(scripted)
    bus.failing = {2: "ThrottlingException"}
    with pytest.raises(AwsUnavailable, match="ThrottlingException"):
        sink.deliver(starts(1, 2, 3))
    bus.failing = {}
    sink.deliver(starts(1, 2, 3))
    assert [item.split()[0] for item in bus.taken] == ["1", "3", "2"]


def test_an_event_never_overtakes_an_earlier_one_of_its_build(scripted: ScriptedAws, bus: Bus) -> None:
    sink = EventBridge(scripted)
    one, two = told_by(a_build(1)), told_by(a_build(2))
    events = [event for pair in zip(one, two, strict=True) for event in pair]
    bus.failing = {1: "InternalFailure"}
    for _ in range(3):
        with pytest.raises(AwsUnavailable):
            sink.deliver(events)
    bus.failing = {}
    sink.deliver(events)
    expected = [summary(detail(event)) for event in one]
    for number in ("1", "2"):
        assert [item[2:] for item in bus.taken if item.startswith(number)] == expected


def test_a_call_has_ten_entries_at_most(scripted: ScriptedAws, bus: Bus) -> None:
    EventBridge(scripted).deliver(starts(*range(1, 24)))
    assert [len(request["Entries"]) for request in scripted.requests] == [10, 10, 3]
    assert len(bus.taken) == 23


def test_an_entry_that_is_refused_by_itself_is_told_from_one_that_is_throttled(scripted: ScriptedAws, bus: Bus) -> None:
    bus.failing = {1: "MalformedDetail"}
    with pytest.raises(AwsRefused) as caught:
        EventBridge(scripted).deliver(starts(1, 2))
    assert caught.value.reason == "MalformedDetail"
    bus.failing = {1: "MalformedDetail", 2: "ThrottlingException"}
    with pytest.raises(AwsUnavailable):
        EventBridge(scripted).deliver(starts(1, 2))


def test_after_everything_was_refused_nothing_counts_as_taken_any_more(scripted: ScriptedAws, bus: Bus) -> None:
    """Else an event that was taken before would be the proof that the bus takes others than the refused one."""
    sink = EventBridge(scripted)
    bus.failing = {1: "InternalFailure"}
    with pytest.raises(AwsUnavailable):
        sink.deliver(starts(1, 2))
    bus.failing = {1: "NotAuthorizedForSource", 2: "NotAuthorizedForSource"}
    with pytest.raises(AwsRefused):
        sink.deliver(starts(1))
    with pytest.raises(AwsRefused):
        sink.deliver(starts(2))


def test_a_poisoned_event_costs_an_hour_and_no_other_event(scripted: ScriptedAws, bus: Bus, tmp_path: Path) -> None:
    outbox, clock = Outbox(a_database(tmp_path)), ManualClock()
    for event in starts(1, 2, 3):
        outbox.add(event)
    bus.failing = {2: "MalformedDetail"}
    delivery = Delivery(EventBridge(scripted), outbox, clock)
    while outbox.pending("eventbridge"):
        clock.at += delivery.turn()
    assert {item.split()[0] for item in bus.taken} == {"1", "3"}
    assert 3600 <= clock.at - NOON <= 4000


@pytest.mark.parametrize(
    "answer",
    [
        (400, JSON, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
        (500, JSON, {"__type": "InternalException", "message": "oops"}),
        (503, "text/html", "<html>try later</html>"),
        (200, "text/html", "<html>a proxy's log-in page</html>"),
        (200, JSON, {"FailedEntryCount": 0, "Entries": []}),
        None,
    ],
)
def test_what_may_work_later_is_unavailable(scripted: ScriptedAws, answer: Answer) -> None:
    scripted.answer = lambda _: answer
    with pytest.raises(AwsUnavailable):
        EventBridge(scripted).deliver(starts(1))


def test_a_role_without_the_permission_is_refused_with_awss_own_code(scripted: ScriptedAws) -> None:
    scripted.answer = lambda _: (400, JSON, {"__type": "AccessDeniedException", "message": "not allowed"})
    with pytest.raises(AwsRefused) as caught:
        EventBridge(scripted).deliver(starts(1))
    assert caught.value.reason == "AccessDeniedException"


def test_an_event_is_never_bigger_than_eventbridge_takes() -> None:
    variables = tuple(
        EnvironmentVariable(name=f"V{number}", value="ü" * 20_000, type="PARAMETER_STORE") for number in range(200)
    )
    project = a_project(environment=Environment(image="debian:12", environment_variables=variables))
    context = PhaseContext(status_code="COMMAND_EXECUTION_ERROR", message="x\x01" * 200_000)
    event = left(a_build(project=project), NOON + 1, Status.FAILED, context)
    made = entry(event, bus="default", source="buildspecd")
    told = json.loads(made["Detail"])
    assert size(made) <= MOST_BYTES
    assert told["build-id"] == event.build.arn
    assert told["completed-phase-context"].startswith("[COMMAND_EXECUTION_ERROR: x")
    assert len(told["additional-information"]["phases"]) == len(event.build.phases)


def test_an_event_that_is_small_enough_is_whole() -> None:
    event = left(a_build(), NOON + 1, Status.FAILED, PhaseContext(status_code="C", message="x" * 100_000))
    assert json.loads(entry(event, bus="b", source="s")["Detail"]) == detail(event)


def letter(number: int, build: str, size: int = 1) -> Letter:
    return Letter((number,), build, {}, size)


def test_a_call_holds_one_event_of_each_build_and_the_oldest() -> None:
    waiting = [letter(1, "a"), letter(2, "a"), letter(3, "b"), letter(4, "a"), letter(5, "c")]
    assert [item.key for item in next_call(waiting)] == [(1,), (3,), (5,)]


def test_a_call_stays_below_the_size_that_is_taken() -> None:
    waiting = [letter(number, str(number), MOST_BYTES // 3) for number in range(5)]
    assert len(next_call(waiting)) == 3


def test_an_event_of_the_full_size_goes_alone() -> None:
    waiting = [letter(number, str(number), MOST_BYTES) for number in range(2)]
    assert [item.key for item in next_call(waiting)] == [(0,)]


def test_a_call_holds_no_more_events_than_are_taken() -> None:
    assert len(next_call([letter(number, str(number)) for number in range(30)])) == MOST_ENTRIES
