"""The end of the host: who tells of it, what becomes of the builds, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.app.hosting import detail_of, while_staying
from agent.daemon.gate import Gate, Notice
from agent.daemon.interruption import ABSENT_SECONDS, LOOK_SECONDS, MARGIN_SECONDS, Farewell, Interruptions
from agent.daemon.metadata import Metadata, endpoint
from agent.errors import Unavailable
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.status import Status
from tests.fakes.metadata import MetadataService, metadata_service
from tests.unit.daemon.test_scheduler_queue import Yard
from tests.unit.store.samples import NOON, a_build

SPOT = Notice("Spot takes the instance back", "terminate", NOON + 120)
SCALING = Notice("Auto Scaling takes the instance away", "terminate")


class Host:
    """Who knows how long the host lives, and who waits with its end."""

    def __init__(self) -> None:
        self.says: Notice | None = None
        self.absent = False
        self.risky = False
        self.done: list[str] = []

    def notice(self) -> Notice | None:
        if self.absent:
            raise Unavailable("nobody there")
        return self.says

    def recommends_to_leave(self) -> bool:
        return self.risky

    def heartbeat(self) -> None:
        self.done.append("heartbeat")

    def complete(self) -> None:
        self.done.append("complete")


class Place:
    """A scheduler with one running and one waiting build, and the watch over its host."""

    def __init__(self, directory: Path) -> None:
        self.yard = yard = Yard(directory, total=1)
        self.host = Host()
        self.told: list[Notice | None] = []
        yard.add(a_build(1), a_build(2))
        yard.turn()
        self.watch = Interruptions(
            watched=self.host,
            hold=self.host,
            gate=yard.scheduler.gate,
            scheduler=yard.scheduler,
            database=yard.database,
            clock=yard.clock,
            tell=self.told.append,
            patience=lambda: 600,
        )

    def asked_to_end(self) -> list[int]:
        self.watch.turn()
        places = [place for place in self.yard.queue.places() if place.stop]
        return sorted(int(self.build_of(place.build).number) for place in places)

    def build_of(self, build_id: str) -> Build:
        found = self.yard.builds.get(build_id)
        assert found is not None
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_a_notice_nothing_happens(place: Place) -> None:
    assert place.watch.turn() == LOOK_SECONDS
    assert not place.yard.scheduler.gate.shut
    assert place.told == place.host.done == []


def test_where_nobody_answers_it_is_seldom_asked(place: Place) -> None:
    place.host.absent = True
    assert place.watch.turn() == ABSENT_SECONDS


def test_with_a_spot_notice_the_queue_ends_at_once_and_running_builds_a_margin_before_the_end(place: Place) -> None:
    place.host.says = SPOT
    assert place.asked_to_end() == [2]
    assert place.yard.scheduler.gate.shut
    assert place.told == [SPOT]
    place.yard.turn()
    ended = place.yard.stored(2)
    assert (ended.status, ended.cause, ended.stop_reason) == (Status.STOPPED, Cause.HOST_INTERRUPTED, SPOT.reason)
    place.yard.clock.at = NOON + 120 - MARGIN_SECONDS - 10 - 1
    assert place.asked_to_end() == []
    place.yard.clock.at += 1
    assert place.asked_to_end() == [1]
    assert place.told == [SPOT]


def test_a_host_that_keeps_its_disk_keeps_its_queue(place: Place) -> None:
    place.host.says = Notice("Spot takes the instance back", "stop", NOON + 20)
    assert place.asked_to_end() == [1]
    assert place.yard.turn() == [1]
    assert place.yard.stored(2).status is Status.IN_PROGRESS


def test_auto_scaling_is_asked_to_wait_until_no_build_is_left_and_then_let_go_once(place: Place) -> None:
    place.host.says = SCALING
    assert place.asked_to_end() == [2]
    place.yard.turn()
    assert place.host.done == ["heartbeat"]
    place.yard.recorder.complete(place.yard.stored(1), Status.SUCCEEDED)
    place.watch.turn()
    place.watch.turn()
    assert place.host.done == ["heartbeat", "complete"]


def test_builds_that_go_on_for_longer_than_the_grace_are_ended(place: Place) -> None:
    place.host.says = SCALING
    place.watch.turn()
    place.yard.clock.at += 600
    assert 1 in place.asked_to_end()


def test_a_spot_notice_shortens_what_auto_scaling_had_left(place: Place) -> None:
    place.host.says = SCALING
    place.watch.turn()
    place.host.says = SPOT
    place.yard.clock.at = NOON + 100
    assert 1 in place.asked_to_end()


def test_a_metadata_service_that_falls_silent_after_a_notice_changes_nothing(place: Place) -> None:
    place.host.says = SPOT
    place.watch.turn()
    place.host.absent = True
    place.yard.clock.at = NOON + 100
    assert 1 in place.asked_to_end()


def test_a_recommendation_to_leave_is_told_once_and_ends_nothing(place: Place) -> None:
    place.host.risky = True
    place.watch.turn()
    place.watch.turn()
    assert place.told == [None]
    assert not place.yard.scheduler.gate.shut


@pytest.mark.parametrize("stopping", [True, False])
def test_only_a_shutdown_of_the_host_ends_running_builds_with_the_daemon(place: Place, stopping: bool) -> None:
    yard = place.yard
    Farewell(yard.scheduler.gate, yard.scheduler, yard.database, yard.clock, lambda: stopping).say()
    assert [bool(one.stop) for one in yard.queue.places()] == [stopping, False]
    assert yard.scheduler.gate.shut is stopping


def test_a_drain_outlives_a_restart_until_it_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "draining"
    Gate(file).drain()
    again = Gate(file)
    assert again.shut
    again.resume()
    assert not again.shut
    assert not Gate(file).shut


def test_that_the_host_goes_away_is_forgotten_with_the_process(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "draining")
    gate.leave(SPOT)
    gate.resume()
    assert gate.shut
    assert not Gate(tmp_path / "draining").shut


def test_webhooks_are_refused_only_where_they_would_be_lost() -> None:
    gate = Gate()
    receive = while_staying(gate, lambda *_: (202, {}))
    gate.drain()
    assert receive("github", {}, b"")[0] == 202
    gate.leave(SPOT)
    assert receive("github", {}, b"")[0] == 503


def test_the_event_tells_who_takes_which_host_when_and_with_what_on_it() -> None:
    detail = detail_of(SPOT, "i-1", "agent-1", 2, 3)
    assert (detail["instance-id"], detail["action"], detail["builds-running"]) == ("i-1", "terminate", 2)
    assert detail["at"].endswith("+00:00")
    assert detail_of(None, "i-1", "agent-1", 0, 0)["action"] is None


@pytest.fixture(scope="module")
def service() -> Iterator[MetadataService]:
    with metadata_service() as running:
        yield running


@pytest.fixture
def asked(service: MetadataService) -> Iterator[Metadata]:
    service.refuses = 0
    service.says = {"instance-id": "i-1", "autoscaling/target-lifecycle-state": "InService"}
    metadata = Metadata(service.address)
    yield metadata
    metadata.close()


def test_an_instance_that_stays_has_no_notice_and_one_token_is_enough(
    service: MetadataService, asked: Metadata
) -> None:
    given = service.given
    assert asked.notice() is None
    assert not asked.recommends_to_leave()
    assert asked.instance() == "i-1"
    assert service.given == given + 1


def test_a_token_that_is_not_good_any_more_is_replaced(service: MetadataService, asked: Metadata) -> None:
    asked.notice()
    service.tokens.clear()
    assert asked.notice() is None


def test_a_spot_notice_has_action_and_hour(service: MetadataService, asked: Metadata) -> None:
    service.says["spot/instance-action"] = '{"action": "stop", "time": "2026-09-18T08:22:00Z"}'
    assert asked.notice() == Notice("Spot takes the instance back", "stop", 1789719720.0)
    service.says["spot/instance-action"] = '{"action": "dance"}'
    assert asked.notice() is None


@pytest.mark.parametrize(("state", "action"), [("Terminated", "terminate"), ("Warmed:Stopped", "stop")])
def test_the_target_state_of_auto_scaling_is_a_notice(
    service: MetadataService, asked: Metadata, state: str, action: str
) -> None:
    service.says["autoscaling/target-lifecycle-state"] = state
    notice = asked.notice()
    assert notice is not None
    assert (notice.action, notice.at) == (action, None)


@pytest.mark.parametrize("status", [403, 500])
def test_a_service_that_refuses_is_as_good_as_none(service: MetadataService, asked: Metadata, status: int) -> None:
    service.refuses = status
    with pytest.raises(Unavailable, match=str(status)):
        asked.notice()


def test_a_service_that_is_not_there_is_said_to_be_unavailable() -> None:
    with pytest.raises(Unavailable, match="no metadata service"):
        Metadata("http://127.0.0.1:9").notice()


def test_the_address_is_found_as_botocore_finds_it() -> None:
    assert endpoint({}) == "http://169.254.169.254"
    assert endpoint({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:1"}) == "http://[::1]:1"
    assert endpoint({"AWS_EC2_METADATA_DISABLED": "TRUE"}) is None
