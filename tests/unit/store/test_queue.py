"""The queue: order, claims with a lease, reasons to stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Place, Queue
from tests.unit.store.samples import NOON, a_build, a_database

ONE, TWO, THREE = (a_build(number).id for number in (1, 2, 3))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = a_database(tmp_path)
    for number in (1, 2, 3):
        Builds(database).add(a_build(number))
    return database


@pytest.fixture
def queue(database: Database) -> Queue:
    queue = Queue(database)
    queue.add(TWO, "web", "refs/heads/main", NOON)
    queue.add(THREE, "web", None, NOON)
    queue.add(ONE, "web", None, NOON - 1)
    return queue


def owners(queue: Queue) -> dict[str, str]:
    return {place.build: place.owner for place in queue.places()}


def test_places_are_in_the_order_of_arrival_also_within_one_moment(queue: Queue) -> None:
    assert [place.build for place in queue.places()] == [ONE, TWO, THREE]


def test_a_place_says_what_was_put_there(queue: Queue) -> None:
    assert queue.places()[1] == Place(TWO, "web", "refs/heads/main", NOON, owner="", stop="")


def test_a_build_that_is_claimed_cannot_be_claimed_by_another(queue: Queue) -> None:
    assert queue.claim(ONE, "a", NOON, 60)
    assert not queue.claim(ONE, "b", NOON + 59, 60)
    assert owners(queue)[ONE] == "a"


def test_its_owner_can_claim_a_build_again(queue: Queue) -> None:
    assert queue.claim(ONE, "a", NOON, 60)
    assert queue.claim(ONE, "a", NOON + 1, 60)


def test_a_build_of_a_dead_owner_can_be_claimed_when_the_lease_is_over(queue: Queue) -> None:
    queue.claim(ONE, "dead", NOON, 60)
    assert queue.claim(ONE, "b", NOON + 61, 60)
    assert owners(queue)[ONE] == "b"


def test_a_renewed_lease_lasts_and_only_that_of_its_owner(queue: Queue) -> None:
    queue.claim(ONE, "a", NOON, 60)
    queue.claim(TWO, "b", NOON, 60)
    queue.renew("a", NOON + 50, 60)
    assert not queue.claim(ONE, "c", NOON + 100, 60)
    assert queue.claim(TWO, "c", NOON + 100, 60)


def test_a_build_that_was_let_go_of_can_be_claimed_at_once(queue: Queue) -> None:
    queue.claim(ONE, "a", NOON, 60)
    queue.release(ONE)
    assert owners(queue)[ONE] == ""
    assert queue.claim(ONE, "b", NOON + 1, 60)


def test_what_is_not_in_the_queue_cannot_be_claimed(queue: Queue) -> None:
    assert not queue.claim("web:nobody", "a", NOON, 60)


def test_the_first_reason_to_stop_stays(queue: Queue) -> None:
    assert queue.ask_to_stop(ONE, "first")
    assert queue.ask_to_stop(ONE, "second")
    assert queue.stop_reason(ONE) == "first"
    assert queue.places()[0].stop == "first"


def test_a_build_that_has_ended_cannot_be_asked_to_stop(queue: Queue) -> None:
    queue.remove(ONE)
    assert not queue.ask_to_stop(ONE, "too late")
    assert queue.stop_reason(ONE) == ""


def test_a_build_that_nobody_asked_to_stop_has_no_reason(queue: Queue) -> None:
    assert queue.stop_reason(ONE) == ""


def test_a_build_that_was_removed_has_no_place(queue: Queue) -> None:
    queue.remove(TWO)
    assert [place.build for place in queue.places()] == [ONE, THREE]


def test_the_queue_survives_a_restart(queue: Queue, database: Database, tmp_path: Path) -> None:
    queue.claim(ONE, "a", NOON, 60)
    before = queue.places()
    database.close()
    assert Queue(a_database(tmp_path)).places() == before


def test_only_a_stored_build_can_be_queued(queue: Queue) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"):
        queue.add("web:nobody", "web", None, NOON)
