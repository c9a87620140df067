"""Logs that a sink could not take when the build ended are brought to it later, whoever runs then."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.buildlog.sink import Ledger, Pace, Stretch
from agent.buildlog.transcript import Transcript
from agent.daemon.redelivery import KEPT_SECONDS, LONGEST_PAUSE_SECONDS, REST_SECONDS, Redelivery
from agent.errors import AwsUnavailable, UserError
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.pipeline.steps import log_record
from agent.store.builds import Builds
from tests.unit.buildlog.parts import FastClock
from tests.unit.store.samples import ManualClock, a_build, a_database


class Sink:
    """Takes the log unless it is down."""

    name = "cloudwatch"
    pace = Pace()

    def __init__(self) -> None:
        self.down = True
        self.data = b""
        self.calls = 0

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        self.calls += 1
        if self.down:
            raise AwsUnavailable("down")
        self.data += stretch.read(1 << 20)
        return stretch.end


class Office:
    """A store with builds whose logs are owed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = a_database(directory)
        self.clock = ManualClock()
        self.recorder = Recorder(self.database, self.clock)
        self.sink = Sink()
        self.opened = 0
        self.refusal: UserError | None = None
        self.new_daemon()

    def new_daemon(self) -> None:
        self.service = Redelivery(self.database, self.recorder, self.open_log, self.log_dir, self.clock)

    def log_dir(self, build: Build) -> Path:
        return self.directory / build.uuid

    def open_log(self, build: Build) -> Transcript:
        self.opened += 1
        if self.refusal:
            raise self.refusal
        return Transcript(
            self.log_dir(build), secrets=(), sinks=[self.sink], clock=FastClock(), raw=self.directory / "none"
        )

    def ended(self, number: int = 1) -> Build:
        """Store a build that ended now, and whose log did not arrive."""
        build = a_build(number)
        self.recorder.add(build)
        log = self.open_log(build)
        log.plain(f"line of {number}")
        build = build.evolve(logs=log_record(build, log.close(0.1)))
        build = self.recorder.leave(build, Status.SUCCEEDED)
        self.opened = 0
        return self.recorder.complete(build, Status.SUCCEEDED)

    def later(self, seconds: float) -> int:
        """Let time pass and a turn happen; return how many logs were opened."""
        before = self.opened
        self.clock.at += seconds
        self.service.turn(StopToken())
        return self.opened - before

    def stored(self, build: Build) -> Build:
        found = Builds(self.database).get(build.id)
        assert found is not None
        return found


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_the_rest_of_a_log_is_brought_and_the_record_says_so(office: Office) -> None:
    build = office.ended()
    assert "not delivered in time" in build.logs.problems["cloudwatch"]
    office.sink.down = False
    assert office.later(REST_SECONDS) == 1
    now = office.stored(build)
    assert (office.sink.data, now.logs.problems) == (b"line of 1\n", {})
    assert now.logs.delivered == {"cloudwatch": len(office.sink.data)}
    assert now.status is Status.SUCCEEDED
    assert now.current_phase is PhaseType.COMPLETED
    assert office.later(REST_SECONDS * 10) == 0


def test_a_log_rests_after_it_was_closed_because_a_late_thread_may_still_be_in_a_call(office: Office) -> None:
    office.ended()
    assert office.later(REST_SECONDS - 1) == 0
    assert office.later(1) == 1


def test_what_an_earlier_process_closed_is_tried_at_once(office: Office) -> None:
    office.ended()
    office.clock.at += 1
    office.new_daemon()
    assert office.later(0) == 1


def test_the_pauses_grow_up_to_a_quarter_of_an_hour(office: Office) -> None:
    office.ended()
    office.later(REST_SECONDS)
    pauses = []
    for _ in range(6):
        waited = 0
        while not office.later(15):
            waited += 15
        pauses.append(waited + 15)
    assert pauses == [75, 150, 300, 600, 900, 900]
    assert LONGEST_PAUSE_SECONDS == 900


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_is_set_neither_hurries_a_log_nor_holds_it_up(office: Office, jump: float) -> None:
    office.ended()
    assert office.later(REST_SECONDS) == 1
    office.clock.jumped = jump
    assert office.later(REST_SECONDS - 1) == 0
    assert office.later(1) == 1


def test_one_log_that_cannot_be_opened_does_not_hold_up_the_next(office: Office) -> None:
    first, second = office.ended(1), office.ended(2)
    office.refusal = UserError("not the location of a bucket")
    assert office.later(REST_SECONDS) == 2
    office.refusal, office.sink.down = None, False
    office.later(REST_SECONDS)
    assert [office.stored(build).logs.owing for build in (first, second)] == [False, False]


def test_a_log_that_was_removed_is_given_up_and_that_is_said(office: Office) -> None:
    build = office.ended()
    for file in office.log_dir(build).iterdir():
        file.unlink()
    assert office.later(REST_SECONDS) == 0
    now = office.stored(build)
    assert "removed" in now.logs.problems["output"]
    assert [(gap.sink, gap.start, gap.end, gap.lines) for gap in now.logs.gaps] == [("cloudwatch", 0, 10, 1)]
    assert (now.logs.bytes, now.logs.held("cloudwatch")) == (10, (0, 0))
    assert not now.logs.owing


def test_after_two_weeks_nobody_tries_any_more(office: Office) -> None:
    build = office.ended()
    assert office.later(KEPT_SECONDS + 1) == 0
    assert [gap.reason for gap in office.stored(build).logs.gaps] == ["the sink took nothing for two weeks"]
    assert not office.stored(build).logs.owing


def test_a_daemon_that_goes_down_does_not_wait_for_a_sink(office: Office) -> None:
    office.ended()
    office.clock.at += REST_SECONDS
    stop = StopToken()
    stop.set()
    office.service.turn(stop)
    assert office.opened == 0


def test_a_build_that_runs_is_left_alone(office: Office) -> None:
    build = a_build(5)
    office.recorder.add(build)
    logs = build.logs.evolve(bytes=10, delivered={"cloudwatch": 0})
    office.recorder.save(build.evolve(logs=logs))
    assert office.later(REST_SECONDS * 2) == 0
