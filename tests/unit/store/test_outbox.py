"""The outbox: at least once, in order, each sink at its own pace, nothing kept for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.event import BuildEvent
from agent.store.database import Database
from agent.store.outbox import Outbox
from tests.unit.store.samples import NOON, a_build, a_database, started


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def numbers(page: list[tuple[int, BuildEvent]]) -> list[int]:
    return [event.build.number for _, event in page]


def fill(outbox: Outbox, count: int) -> None:
    for number in range(1, count + 1):
        outbox.add(started(a_build(number, at=NOON + number)))


def fill_and_fail(database: Database, outbox: Outbox) -> None:
    with database.transaction():
        fill(outbox, 1)
        raise KeyError


def test_events_come_back_whole_and_in_the_order_in_which_they_were_added(outbox: Outbox) -> None:
    events = [started(a_build(number)) for number in (3, 1, 2)]
    for event in events:
        outbox.add(event)
    assert [event for _, event in outbox.pending("a")] == events


def test_a_sink_is_given_an_event_again_until_it_says_that_it_has_it(outbox: Outbox) -> None:
    fill(outbox, 2)
    first = outbox.pending("a")
    assert outbox.pending("a") == first
    outbox.delivered("a", first[0][0])
    assert numbers(outbox.pending("a")) == [2]


def test_sinks_do_not_see_each_others_progress(outbox: Outbox) -> None:
    fill(outbox, 2)
    outbox.delivered("a", outbox.pending("a")[-1][0])
    assert numbers(outbox.pending("a")) == []
    assert numbers(outbox.pending("b")) == [1, 2]


def test_progress_never_goes_back(outbox: Outbox) -> None:
    fill(outbox, 3)
    (first, _), _, (last, _) = outbox.pending("a")
    outbox.delivered("a", last)
    outbox.delivered("a", first)
    assert outbox.pending("a") == []


def test_a_page_is_not_longer_than_asked_for(outbox: Outbox) -> None:
    fill(outbox, 5)
    assert numbers(outbox.pending("a", 2)) == [1, 2]


def test_progress_survives_a_restart(database: Database, outbox: Outbox, tmp_path: Path) -> None:
    fill(outbox, 2)
    outbox.delivered("a", outbox.pending("a")[0][0])
    database.close()
    assert numbers(Outbox(a_database(tmp_path)).pending("a")) == [2]


def test_an_event_of_a_transaction_that_failed_was_never_there(database: Database, outbox: Outbox) -> None:
    with pytest.raises(KeyError):
        fill_and_fail(database, outbox)
    assert outbox.pending("a") == []


def test_pruning_keeps_what_one_sink_has_not_got(outbox: Outbox) -> None:
    fill(outbox, 3)
    marks = [seq for seq, _ in outbox.pending("a")]
    outbox.delivered("a", marks[2])
    outbox.delivered("b", marks[0])
    assert outbox.prune(["a", "b"], NOON + 100) == 1
    assert numbers(outbox.pending("b")) == [2, 3]


def test_pruning_keeps_everything_for_a_sink_that_has_got_nothing_yet(outbox: Outbox) -> None:
    fill(outbox, 2)
    outbox.delivered("a", outbox.pending("a")[-1][0])
    assert outbox.prune(["a", "new"], NOON + 100) == 0


def test_pruning_keeps_young_events(outbox: Outbox) -> None:
    fill(outbox, 3)
    outbox.delivered("a", outbox.pending("a")[-1][0])
    assert outbox.prune(["a"], NOON + 3) == 2
    assert numbers(outbox.pending("b")) == [3]


def test_without_sinks_age_alone_decides(outbox: Outbox) -> None:
    fill(outbox, 3)
    assert outbox.prune([], NOON + 2) == 1
    assert numbers(outbox.pending("a")) == [2, 3]


def test_a_sequence_number_is_never_used_again_after_everything_was_pruned(outbox: Outbox) -> None:
    fill(outbox, 2)
    last = outbox.pending("a")[-1][0]
    outbox.delivered("a", last)
    outbox.prune(["a"], NOON + 100)
    outbox.add(started(a_build(9)))
    assert [seq for seq, _ in outbox.pending("a")] == [last + 1]
