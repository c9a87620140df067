"""Delivery: at least once, in order, a sink that is down delays nobody, nothing is kept for ever."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.aws import AwsRefused
from agent.errors import AwsUnavailable, BuildspecdError
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.event import BuildEvent
from agent.notify.delivery import (
    FIRST_PAUSE_SECONDS,
    KEPT_SECONDS,
    KEPT_WITHOUT_SINK_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LOOK_SECONDS,
    PRUNE_SECONDS,
    REFUSED_ALONE_SECONDS,
    REFUSED_PAUSE_SECONDS,
    Delivery,
    Pruning,
    services,
)
from agent.store.outbox import Outbox
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, started

REFUSAL = AwsRefused("events: AccessDenied: no", reason="AccessDenied", text="no")


class FakeSink:
    """Obeys `Sink`; fails as `trouble` says, refuses the builds of `poison`, keeps what it was told in `told`."""

    def __init__(self, name: str = "fake", page: int = 3) -> None:
        self.name = name
        self.page = page
        self.told: list[int] = []
        self.calls: list[list[int]] = []
        self.trouble: BuildspecdError | None = None
        self.poison: set[int] = set()
        self.enough = threading.Event()
        self.wanted = 0

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        numbers = [event.build.number for event in events]
        self.calls.append(numbers)
        if self.trouble:
            raise self.trouble
        if self.poison & set(numbers):
            raise REFUSAL
        self.told += numbers
        if self.wanted and len(self.told) >= self.wanted:
            self.enough.set()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(a_database(tmp_path))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def delivery(sink: FakeSink, outbox: Outbox, clock: ManualClock) -> Delivery:
    return Delivery(sink, outbox, clock)


def fill(outbox: Outbox, count: int, at: float = NOON) -> None:
    for number in range(1, count + 1):
        outbox.add(started(a_build(number, at=at)))


def turns(delivery: Delivery, count: int) -> list[float]:
    return [delivery.turn() for _ in range(count)]


def test_events_are_told_in_order_a_page_at_a_time_without_a_pause(
    outbox: Outbox, sink: FakeSink, delivery: Delivery
) -> None:
    fill(outbox, 5)
    assert turns(delivery, 3) == [0.0, 0.0, LOOK_SECONDS]
    assert sink.calls == [[1, 2, 3], [4, 5]]


def test_an_event_that_was_told_is_not_told_by_the_next_daemon(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 2)
    delivery.turn()
    assert Delivery(sink, outbox, clock).turn() == LOOK_SECONDS
    assert sink.told == [1, 2]


def test_a_page_that_failed_is_told_again_and_what_came_meanwhile_after_it(
    outbox: Outbox, sink: FakeSink, delivery: Delivery
) -> None:
    fill(outbox, 2)
    sink.trouble = AwsUnavailable("events: throttled")
    delivery.turn()
    outbox.add(started(a_build(3)))
    sink.trouble = None
    delivery.turn()
    assert sink.told == [1, 2, 3]


def test_a_sink_that_is_down_is_tried_less_and_less_often(outbox: Outbox, sink: FakeSink, delivery: Delivery) -> None:
    fill(outbox, 1)
    sink.trouble = AwsUnavailable("events: no route to host")
    pauses = turns(delivery, 12)
    assert pauses[:4] == [FIRST_PAUSE_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_after_an_outage_the_next_one_begins_with_short_pauses(
    outbox: Outbox, sink: FakeSink, delivery: Delivery
) -> None:
    fill(outbox, 1)
    sink.trouble = AwsUnavailable("events: down")
    turns(delivery, 9)
    sink.trouble = None
    delivery.turn()
    outbox.add(started(a_build(2)))
    sink.trouble = AwsUnavailable("events: down again")
    assert delivery.turn() == FIRST_PAUSE_SECONDS


def test_the_trouble_of_a_sink_can_be_seen_while_it_lasts(outbox: Outbox, sink: FakeSink, delivery: Delivery) -> None:
    fill(outbox, 1)
    assert delivery.trouble == ""
    sink.trouble = AwsUnavailable("events: down")
    delivery.turn()
    assert delivery.trouble == "events: down"
    sink.trouble = None
    delivery.turn()
    assert delivery.trouble == ""


def test_a_refusal_is_tried_again_slowly_and_nothing_is_lost(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 3)
    sink.trouble = REFUSAL
    assert turns(delivery, 3) == [0.0, REFUSED_PAUSE_SECONDS, REFUSED_PAUSE_SECONDS]
    clock.at += KEPT_SECONDS - 1  # nobody mended it, over a long time
    turns(delivery, 5)
    sink.trouble = None
    turns(delivery, 3)
    assert sink.told == [1, 2, 3]


def test_an_event_that_is_refused_holds_the_others_up_for_an_hour_at_most(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 4)
    sink.poison = {2}
    turns(delivery, 6)
    assert sink.told == [1]
    clock.at += REFUSED_ALONE_SECONDS + 1
    turns(delivery, 6)
    assert sink.told == [1, 3, 3, 4]  # 3 was asked first whether anything is taken


def test_an_event_is_not_given_up_when_somebody_mends_the_trouble_while_it_is_looked_into(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 2)
    clock.at += REFUSED_ALONE_SECONDS + 1
    sink.poison = {1}
    assert turns(delivery, 2) == [0.0, 0.0]  # 2 was taken, so 1 is suspected
    sink.poison = set()
    turns(delivery, 2)
    assert sink.told == [2, 1, 2]


def test_an_event_that_stands_alone_is_not_given_up_since_nobody_knows_whose_fault_it_is(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 1)
    sink.poison = {1}
    clock.at += KEPT_SECONDS - 1
    turns(delivery, 5)
    sink.poison = set()
    delivery.turn()
    assert sink.told == [1]


def test_events_that_are_too_old_are_passed_over_and_the_young_ones_behind_them_told(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 2)
    outbox.add(started(a_build(3, at=NOON + KEPT_SECONDS)))
    clock.at = NOON + KEPT_SECONDS + 1
    delivery.turn()
    assert sink.calls == [[3]]


def test_an_event_as_old_as_the_limit_is_still_told(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    fill(outbox, 1)
    clock.at = NOON + KEPT_SECONDS
    delivery.turn()
    assert sink.told == [1]


def test_the_service_ends_when_it_is_told_to_and_leaves_the_rest_for_the_next_one(
    outbox: Outbox, sink: FakeSink
) -> None:
    fill(outbox, 9)
    stop = StopToken()
    Delivery(sink, outbox, ManualClock(then=lambda _: stop.set())).run(stop)
    assert sink.told == [1, 2, 3]
    assert [event.build.number for _, event in outbox.pending("fake")] == [4, 5, 6, 7, 8, 9]


def test_a_dead_sink_delays_nobody(outbox: Outbox) -> None:
    dead, alive = FakeSink("dead"), FakeSink("alive")
    dead.trouble = AwsUnavailable("events: down")
    alive.wanted = 20
    fill(outbox, 20, at=SystemClock().now())
    stop = StopToken()
    threads = [
        threading.Thread(target=service.run, args=(stop,)) for service in services(outbox, [dead, alive], SystemClock())
    ]
    for thread in threads:
        thread.start()
    assert alive.enough.wait(20)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert alive.told == list(range(1, 21))
    assert dead.told == []
    assert not any(thread.is_alive() for thread in threads)


def test_each_sink_has_a_service_and_the_pruning_has_one(outbox: Outbox, clock: ManualClock) -> None:
    made = services(outbox, [FakeSink("a"), FakeSink("b")], clock)
    assert [service.name for service in made] == ["notify a", "notify b", "notify pruning"]
    assert [service.name for service in services(outbox, [], clock)] == ["notify pruning"]


def test_what_every_sink_has_is_pruned_after_a_week(outbox: Outbox, delivery: Delivery, clock: ManualClock) -> None:
    fill(outbox, 2)
    delivery.turn()
    pruning = Pruning(outbox, ["fake"], clock)
    clock.at = NOON + KEPT_SECONDS
    assert pruning.prune() == 0
    clock.at += 1
    assert pruning.prune() == 2


def test_a_sink_that_takes_nothing_for_ever_does_not_let_the_outbox_grow_for_ever(
    outbox: Outbox, sink: FakeSink, delivery: Delivery, clock: ManualClock
) -> None:
    sink.trouble = AwsUnavailable("events: down")
    pruning = Pruning(outbox, ["fake"], clock)
    for number in range(1, 31):
        outbox.add(started(a_build(number, at=clock.at)))
        turns(delivery, 3)
        pruning.prune()
        clock.at += 86400
    assert len(outbox.pending("new", 100)) <= 9


def test_without_sinks_events_stay_for_a_day(outbox: Outbox, clock: ManualClock) -> None:
    fill(outbox, 2)
    clock.at = NOON + KEPT_WITHOUT_SINK_SECONDS + 1
    assert Pruning(outbox, [], clock).prune() == 2


def test_pruning_goes_on_until_it_is_told_to_end(outbox: Outbox) -> None:
    fill(outbox, 1)
    stop = StopToken()
    hours: list[float] = []

    def an_hour_later(seconds: float) -> None:
        hours.append(seconds)
        if len(hours) == 48:
            stop.set()

    Pruning(outbox, [], ManualClock(then=an_hour_later)).run(stop)
    assert set(hours) == {PRUNE_SECONDS}
    assert outbox.pending("new") == []
