"""The event sinks against an AWS that breaks: every event at least once, in order per build, and none that blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agent.notify.cloudwatch import CloudWatch, metrics
from agent.notify.delivery import Delivery, Sink
from agent.notify.eventbridge import EventBridge
from agent.notify.sns import Sns
from agent.store.outbox import Outbox
from agent.torture.cloud import CloudServer, Fault
from tests.unit.notify.builds import told_by
from tests.unit.store.samples import ManualClock, a_build, a_database
from tests.unit.torture.clients import Clients

KINDS = ("throttle", "error", "unavailable", "expired", "reset", "lost-answer", "truncated", "garbage", "partial")


def deliver(outbox: Outbox, sink: Sink, clock: ManualClock) -> None:
    """Deliver all that waits, however often it fails."""
    delivery = Delivery(sink, outbox, clock)
    for _ in range(2000):
        delivery.turn()
        if not outbox.pending(sink.name, 1):
            return
    pytest.fail(delivery.trouble)


@pytest.mark.parametrize("seed", range(2))
def test_under_any_mixture_of_faults_each_event_is_told_and_those_of_a_build_in_order(
    tmp_path: Path, seed: int
) -> None:
    outbox, clock = Outbox(a_database(tmp_path)), ManualClock()
    builds = [told_by(a_build(number)) for number in range(1, 6)]
    for events in zip(*builds, strict=True):
        for event in events:
            outbox.add(event)
    with CloudServer(seed=seed, now=clock.now) as cloud:
        clients = Clients(cloud)
        for kind in KINDS:
            cloud.add(Fault(kind, chance=0.06))
        deliver(outbox, EventBridge(clients), clock)
        deliver(outbox, CloudWatch(clients, "buildspecd"), clock)
        deliver(outbox, Sns(clients, "arn:aws:sns:us-east-1:123456789012:builds.fifo"), clock)
        assert cloud.done()
        for events in builds:
            arn = events[0].build.arn
            told = [entry["Detail"] for entry in cloud.events() if entry["Resources"] == [arn]]
            words = [str(one.get("completed-phase") or one["build-status"]) for one in told]
            first_told = sorted(set(words), key=words.index)
            assert first_told == [str(event.completed_phase or event.build.status) for event in events]
            group = [one for one in cloud.services.topics.taken if one["MessageGroupId"] == events[0].build.id]
            published = [json.loads(one["Message"])["detail"] for one in group]
            told = [str(one.get("completed-phase") or one["build-status"]) for one in published]
            assert told == [str(event.completed_phase or event.build.status) for event in events]
        names = [one["MetricName"] for one in cloud.metrics()]
        assert names.count("Builds") >= 10
        assert names.count("SucceededBuilds") >= 10


OUTAGES = ("throttle", "unavailable", "reset", "hang", "denied")


class Hour:
    """An hour in which builds run and a service of AWS is gone: *kind* says how, *permission* which one.

    *make* makes the sink. `builds` has the events of each build.
    """

    def __init__(self, place: Path, kind: str, permission: str, make: Callable[[Clients], Sink]) -> None:
        self.kind, self.permission, self.make, self.clock = kind, permission, make, ManualClock()
        self.outbox = Outbox(a_database(place))
        self.builds = [told_by(a_build(number)) for number in (1, 2, 3)]

    def pass_by(self, cloud: CloudServer) -> None:
        """Let it pass, and deliver what waits when the service is there again."""
        waiting = [event for events in zip(*self.builds, strict=True) for event in events]
        delivery = Delivery(self.make(Clients(cloud, patience=0.2)), self.outbox, self.clock)
        cloud.add(Fault(self.kind, self.permission.partition(":")[0]))
        until = self.clock.at + 3600
        while self.clock.at < until:
            for event in waiting[:4]:
                self.outbox.add(event)
            del waiting[:4]
            self.clock.at += max(delivery.turn(), 30.0)
        assert not waiting
        assert self.permission in delivery.trouble
        cloud.clear()
        deliver(self.outbox, self.make(Clients(cloud)), self.clock)

    def assert_in_order(self, told: Sequence[tuple[list[str], Any]]) -> None:
        """Check that each build was told of, each event once and in order; *told* has resources and details."""
        for events in self.builds:
            mine = [detail for resources, detail in told if resources == [events[0].build.arn]]
            words = [str(one.get("completed-phase") or one["build-status"]) for one in mine]
            assert words == [str(event.completed_phase or event.build.status) for event in events]


@pytest.mark.parametrize("kind", OUTAGES)
def test_a_topic_that_is_gone_for_an_hour_gets_every_event_in_order_afterwards(tmp_path: Path, kind: str) -> None:
    topic = "arn:aws:sns:us-east-1:123456789012:builds"
    hour = Hour(tmp_path, kind, "sns:Publish", lambda clients: Sns(clients, topic))
    with CloudServer(now=hour.clock.now) as cloud:
        hour.pass_by(cloud)
        told = [json.loads(one["Message"]) for one in cloud.services.topics.taken]
    hour.assert_in_order([(one["resources"], one["detail"]) for one in told])


@pytest.mark.parametrize("kind", OUTAGES)
def test_a_bus_that_is_gone_for_an_hour_gets_every_event_in_order_afterwards(tmp_path: Path, kind: str) -> None:
    hour = Hour(tmp_path, kind, "events:PutEvents", EventBridge)
    with CloudServer(now=hour.clock.now) as cloud:
        hour.pass_by(cloud)
        hour.assert_in_order([(one["Resources"], one["Detail"]) for one in cloud.events()])


@pytest.mark.parametrize("kind", OUTAGES)
def test_after_an_hour_without_metrics_each_build_is_counted_once_and_at_its_own_time(
    tmp_path: Path, kind: str
) -> None:
    hour = Hour(tmp_path, kind, "cloudwatch:PutMetricData", lambda clients: CloudWatch(clients, "buildspecd"))
    with CloudServer(now=hour.clock.now) as cloud:
        hour.pass_by(cloud)
        expected = [datum for events in hour.builds for event in events for datum in metrics(event)]
        assert sorted(map(figure, cloud.metrics())) == sorted(map(figure, expected))


def figure(datum: Any) -> tuple[str, str, int, float]:
    at = datum["Timestamp"]
    seconds = at.timestamp() if isinstance(at, datetime) else float(at)
    return datum["MetricName"], str(datum["Dimensions"]), round(seconds), float(datum["Value"])
