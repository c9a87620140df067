"""The scheduler and the queue: who sets out, who ends before that, and what the next daemon takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.daemon.policy import Limits
from agent.daemon.scheduler import LEASE_SECONDS, Scheduler, waiting_too_long
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.phase import PhaseContext, PhaseType
from agent.model.status import Status
from agent.pipeline.job import Job, LetGo
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.outbox import Outbox
from agent.store.queue import Place, Queue
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, a_project


class Yard:
    """A scheduler whose builds are let go of as soon as they have set out, so that they hold their place."""

    def __init__(self, directory: Path, total: int = 2, of_project: int | None = None) -> None:
        self.database = a_database(directory)
        self.queue = Queue(self.database)
        self.builds = Builds(self.database)
        self.clock = ManualClock()
        self.recorder = Recorder(self.database, self.clock)
        self.total = total
        self.set_out: list[Build] = []
        self.going_down = StopToken()
        self.scheduler = Scheduler(
            owner="me",
            database=self.database,
            recorder=self.recorder,
            limits=lambda: Limits(self.total, lambda _: of_project),
            new_job=self._new_job,
            clock=self.clock,
        )

    def _new_job(self, build: Build, letting_go: StopToken) -> Job:
        self.set_out.append(build)
        raise LetGo

    def add(self, *builds: Build) -> None:
        for build in builds:
            self.recorder.add(build)

    def turn(self) -> list[int]:
        """Look at the queue once; return the numbers of the builds that have set out since the beginning."""
        self.scheduler.turn(self.going_down)
        for thread in self.scheduler._running_threads():
            thread.join()
        return sorted(build.number for build in self.set_out)

    def stored(self, number: int) -> Build:
        return next(build for build in self.builds.list() if build.number == number)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_builds_set_out_as_far_as_there_are_places(yard: Yard) -> None:
    yard.add(*(a_build(number) for number in (1, 2, 3)))
    assert yard.turn() == [1, 2]
    assert [place.owner for place in yard.queue.places()] == ["me", "me", ""]


def test_the_next_build_sets_out_when_one_has_ended(yard: Yard) -> None:
    yard.add(*(a_build(number) for number in (1, 2, 3)))
    yard.turn()
    yard.recorder.complete(yard.stored(1), Status.SUCCEEDED)
    assert yard.turn() == [1, 2, 3]


def test_a_changed_limit_holds_at_the_next_look(yard: Yard) -> None:
    yard.add(*(a_build(number) for number in (1, 2, 3)))
    yard.turn()
    yard.total = 3
    assert yard.turn() == [1, 2, 3]


def test_a_build_that_sets_out_has_left_the_queue_phase_and_that_is_told(yard: Yard) -> None:
    yard.add(a_build(1))
    yard.clock.at += 7
    yard.turn()
    queued = yard.stored(1).phase(PhaseType.QUEUED)
    assert queued is not None
    assert (queued.phase_status, queued.duration_in_seconds) == (Status.SUCCEEDED, 7)
    told = [event.completed_phase for _, event in Outbox(yard.database).pending("a")]
    assert told == [None, PhaseType.QUEUED]


def test_a_draining_daemon_takes_no_new_build(yard: Yard) -> None:
    yard.add(a_build(1))
    yard.scheduler.gate.drain()
    assert yard.turn() == []


def test_a_daemon_that_goes_down_takes_no_new_build(yard: Yard) -> None:
    yard.add(a_build(1))
    yard.going_down.set()
    assert yard.turn() == []


def test_a_waiting_build_that_is_stopped_never_sets_out(yard: Yard) -> None:
    yard.add(a_build(1))
    yard.scheduler.stop_build(a_build(1).id, "Build was stopped by a user")
    assert yard.turn() == []
    build = yard.stored(1)
    assert (build.status, build.current_phase, build.stop_reason) == (
        Status.STOPPED,
        PhaseType.COMPLETED,
        "Build was stopped by a user",
    )
    queued = build.phase(PhaseType.QUEUED)
    assert queued is not None
    assert queued.phase_status is Status.STOPPED
    assert yard.queue.places() == []


def test_a_build_that_waited_too_long_times_out_also_while_the_daemon_drains(yard: Yard) -> None:
    yard.add(a_build(1, project=a_project(queued_timeout_in_minutes=5)))
    yard.scheduler.gate.drain()
    yard.clock.at += 301
    yard.turn()
    build = yard.stored(1)
    assert build.complete
    assert build.timed_out
    assert [str(event.build.status) for _, event in Outbox(yard.database).pending("a")][-1] == "TIMED_OUT"


def test_a_build_whose_time_is_over_ends_before_another_takes_its_place(yard: Yard) -> None:
    yard.total = 1
    yard.add(a_build(1, project=a_project(queued_timeout_in_minutes=5)), a_build(2, at=NOON + 1))
    yard.clock.at += 301
    assert yard.turn() == [2]


def test_a_running_build_keeps_its_lease_while_the_scheduler_looks(yard: Yard) -> None:
    yard.add(a_build(1))
    yard.turn()
    for _ in range(5):
        yard.clock.at += LEASE_SECONDS - 1
        yard.turn()
    assert not yard.queue.claim(a_build(1).id, "another", yard.clock.at, LEASE_SECONDS)


def test_a_build_that_is_gone_from_the_store_holds_no_place(yard: Yard) -> None:
    yard.add(a_build(1), a_build(2))
    yard.database.execute("PRAGMA foreign_keys = OFF")
    yard.database.execute("DELETE FROM builds WHERE number = 1")
    assert yard.turn() == [2]
    assert [place.build for place in yard.queue.places()] == [a_build(2).id]


def go_down_at_once(yard: Yard) -> None:
    """Run the scheduler once through its take-over, and down."""
    yard.going_down.set()
    yard.scheduler.wake()
    yard.scheduler.run(yard.going_down)


def test_the_next_daemon_sets_out_with_the_builds_of_the_last_one(yard: Yard) -> None:
    yard.add(a_build(1), a_build(2))
    yard.queue.claim(a_build(1).id, "the last daemon", NOON, LEASE_SECONDS)
    go_down_at_once(yard)
    assert [build.number for build in yard.set_out] == [1]
    assert [place.owner for place in yard.queue.places()] == ["me", ""]


def test_builds_that_were_taken_over_count_for_the_limit(yard: Yard) -> None:
    yard.total = 1
    yard.add(a_build(1), a_build(2))
    yard.queue.claim(a_build(1).id, "the last daemon", NOON, LEASE_SECONDS)
    go_down_at_once(yard)
    yard.going_down = StopToken()
    assert yard.turn() == [1]


def test_a_phase_that_was_running_when_the_last_daemon_died_is_still_running(yard: Yard) -> None:
    build = a_build(1).left(NOON, Status.SUCCEEDED).entered(PhaseType.PROVISIONING, NOON)
    yard.add(build)
    yard.queue.claim(build.id, "the last daemon", NOON, LEASE_SECONDS)
    go_down_at_once(yard)
    provisioning = yard.stored(1).phase(PhaseType.PROVISIONING)
    assert provisioning is not None
    assert provisioning.end_time is None


def place(stop: str = "") -> Place:
    return Place(a_build(1).id, "web", None, enqueued=NOON, owner="", stop=stop)


@pytest.mark.parametrize(
    ("later", "stop", "status"),
    [
        (0, "", Status.IN_PROGRESS),
        (300, "", Status.IN_PROGRESS),
        (300.1, "", Status.TIMED_OUT),
        (0, "enough", Status.STOPPED),
        (301, "enough", Status.STOPPED),
    ],
)
def test_a_waiting_build_ends_when_it_is_asked_to_or_waited_too_long(later: float, stop: str, status: Status) -> None:
    build = a_build(1, project=a_project(queued_timeout_in_minutes=5))
    assert waiting_too_long(build, place(stop), later)[0] is status


def test_the_context_says_why_a_waiting_build_ended() -> None:
    build = a_build(1, project=a_project(queued_timeout_in_minutes=5))
    assert waiting_too_long(build, place("enough"), 0)[1] == PhaseContext(message="enough")
    late = waiting_too_long(build, place(), 301)[1]
    assert str(late) == "BUILD_TIMED_OUT: Build waited in the queue for more than 5 minutes."


def test_a_build_that_waits_for_the_disk_says_so_and_is_no_users_fault_when_its_time_is_over(yard: Yard) -> None:
    why = ["waiting for disk space"]
    yard.scheduler.hold = lambda: why[0]
    yard.add(a_build(1, project=a_project(queued_timeout_in_minutes=5)), a_build(2))
    assert yard.turn() == []
    assert yard.scheduler.held == "waiting for disk space"
    yard.clock.at += 301
    yard.turn()
    assert (yard.stored(1).timed_out, yard.stored(1).cause) == (True, Cause.HOST_DISK_FULL)
    why[0] = ""
    assert yard.turn() == [2]


def test_a_build_whose_record_cannot_be_read_holds_up_no_other(yard: Yard) -> None:
    yard.add(a_build(1), a_build(2))
    yard.database.execute("UPDATE builds SET document = 'broken' WHERE number = 1")
    assert yard.turn() == [2]
    assert [place.build for place in yard.queue.places()] == [a_build(1).id, a_build(2).id]


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_wall_clock_that_is_set_ends_no_waiting_build_and_keeps_none(yard: Yard, jump: float) -> None:
    clock = yard.clock
    yard.scheduler.gate.drain()
    yard.add(a_build(1))
    yard.turn()
    clock.jumped = jump
    yard.turn()
    yard.scheduler._waited.clear()  # as another daemon begins
    yard.turn()
    assert yard.stored(1).status is Status.IN_PROGRESS
    clock.at += yard.stored(1).project.queued_timeout_in_minutes * 60 + 1
    yard.turn()
    assert yard.stored(1).timed_out
