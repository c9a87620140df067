"""The event sinks against an AWS that breaks: every event at least once, in order per build, and none that blocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.notify.cloudwatch import CloudWatch
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


@pytest.mark.parametrize("kind", ["throttle", "denied", "hang"])
def test_a_topic_that_is_gone_for_an_hour_gets_every_event_in_order_afterwards(tmp_path: Path, kind: str) -> None:
    outbox, clock = Outbox(a_database(tmp_path)), ManualClock()
    events = told_by(a_build())
    for event in events:
        outbox.add(event)
    with CloudServer(now=clock.now) as cloud:
        sink = Sns(Clients(cloud, patience=0.2), "arn:aws:sns:us-east-1:123456789012:builds")
        delivery = Delivery(sink, outbox, clock)
        cloud.add(Fault(kind, "sns"))
        until = clock.at + 3600
        while clock.at < until:
            clock.at += delivery.turn()
        assert "sns:Publish" in delivery.trouble
        assert not cloud.services.topics.taken
        cloud.clear()
        deliver(outbox, sink, clock)
        told = [json.loads(one["Message"])["detail"] for one in cloud.services.topics.taken]
    words = [str(one.get("completed-phase") or one["build-status"]) for one in told]
    assert words == [str(event.completed_phase or event.build.status) for event in events]
