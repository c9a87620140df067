"""Schedules: each tick is one build, whatever happens to the daemon, its clock or the project file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.errors import BuildspecdError, ProjectUnknown, Unavailable
from agent.kit.service import StopToken
from agent.model.project import AgentOptions, Environment, Project, Source
from agent.model.request import BuildRequest
from agent.store.cursors import Cursors
from agent.store.database import Database
from agent.triggers.schedule import LONGEST_SLEEP, Schedules
from tests.unit.store.samples import ManualClock


def at(text: str) -> float:
    """Return a moment of 2026, in UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


@dataclass
class Bench:
    """A daemon's schedules; `start` stands for its start, and the database outlives it."""

    schedule: Any = "0 3 * * *"
    trouble: BuildspecdError | None = None
    database: Database = field(default_factory=lambda: Database(Path(":memory:")))
    requests: dict[str, BuildRequest] = field(default_factory=dict)
    submitted: int = 0

    def __post_init__(self) -> None:
        self.clock = ManualClock(at("11-22 12:00:00"))
        self.start()

    def start(self) -> None:
        self.schedules = Schedules(
            projects=self.projects,
            submit=self.submit,
            cursors=Cursors(self.database),
            transaction=self.database.transaction,
            clock=self.clock,
        )

    def projects(self) -> list[Project]:
        if self.schedule is None:
            return []
        options = AgentOptions.model_validate({"schedule": self.schedule})
        source, environment = Source(type="GIT", location="https://h/web.git"), Environment(image="i")
        return [Project(name="web", source=source, environment=environment, agent=options)]

    def submit(self, request: BuildRequest) -> None:
        if self.trouble and request.initiator != "rule/schedule-2":
            raise self.trouble
        self.submitted += 1
        self.requests.setdefault(request.dedupe_key or "", request)

    def turn(self, moment: str) -> float:
        self.clock.at = at(moment)
        return self.schedules.turn()

    @property
    def ticks(self) -> list[str]:
        return [key.split(":", 3)[3] for key in self.requests]


def test_a_schedule_runs_at_its_ticks_and_sleeps_until_the_next_one() -> None:
    bench = Bench({"cron": "*/5 * * * *", "name": "often"})
    assert bench.turn("11-22 12:04:30") == 30.0
    assert bench.turn("11-22 12:05:00") == LONGEST_SLEEP
    assert bench.turn("11-22 12:05:01") == LONGEST_SLEEP
    assert bench.turn("11-22 12:10:00") == LONGEST_SLEEP
    assert bench.ticks == ["2026-11-22T12:05:00Z", "2026-11-22T12:10:00Z"]
    assert bench.submitted == 2
    assert {request.initiator for request in bench.requests.values()} == {"rule/often"}


def test_ticks_missed_while_the_daemon_was_down_are_one_build_after_the_start() -> None:
    bench = Bench("0 * * * *")
    bench.turn("11-22 12:30:00")
    bench.start()
    bench.turn("11-25 17:20:00")
    bench.turn("11-25 17:21:00")
    bench.start()
    bench.turn("11-25 17:22:00")
    assert len(bench.requests) == 1
    bench.turn("11-25 18:00:00")
    assert bench.ticks == ["2026-11-22T13:00:00Z", "2026-11-25T18:00:00Z"]


def test_a_new_schedule_does_not_run_for_ticks_before_it_existed() -> None:
    bench = Bench("0 3 * * *")
    bench.turn("11-22 12:00:00")
    assert bench.requests == {}
    bench.schedule = "0 2 * * *"
    bench.turn("11-23 02:30:00")
    bench.turn("11-23 03:30:00")
    assert bench.requests == {}, "one that changed starts afresh"
    bench.schedule = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}
    bench.turn("11-24 01:30:00")
    assert bench.requests == {}, "in another time zone it is another one"
    bench.turn("11-25 01:00:00")
    assert bench.ticks == ["2026-11-25T01:00:00Z"]


def test_a_schedule_that_was_removed_for_a_while_is_new() -> None:
    bench = Bench("0 * * * *")
    bench.turn("11-22 12:30:00")
    bench.schedule = None
    assert bench.turn("11-22 12:31:00") == LONGEST_SLEEP
    bench.schedule = "0 * * * *"
    bench.turn("11-22 15:30:00")
    assert bench.requests == {}
    bench.turn("11-22 16:00:00")
    assert bench.ticks == ["2026-11-22T16:00:00Z"]


def test_a_rate_keeps_its_rhythm_over_a_restart() -> None:
    bench = Bench("rate(10 minutes)")
    bench.turn("11-22 12:01:00")
    bench.start()
    assert bench.turn("11-22 12:10:30") == 30.0
    bench.turn("11-22 12:11:00")
    assert bench.ticks == ["2026-11-22T12:11:00Z"]


def test_a_clock_that_is_set_back_repeats_no_tick_and_one_set_forward_misses_none() -> None:
    bench = Bench("0 * * * *")
    bench.turn("11-22 12:30:00")
    bench.turn("11-22 14:00:10")
    bench.turn("11-22 13:59:50")
    bench.turn("11-22 14:00:00")
    assert bench.ticks == ["2026-11-22T13:00:00Z"]
    bench.turn("12-22 15:00:00")
    bench.turn("11-22 14:30:00")
    assert bench.turn("11-22 14:59:50") == 10.0, "a wrong date does not stop it for a month"
    bench.turn("11-22 15:00:00")
    assert bench.ticks[1:] == ["2026-11-22T15:00:00Z"]


def test_a_tick_whose_request_could_not_be_stored_is_tried_again_and_holds_up_no_other() -> None:
    bench = Bench(["0 * * * *", "0 * * * *"])
    bench.turn("11-22 12:10:00")
    bench.trouble = Unavailable("the disk is busy")
    with pytest.raises(Unavailable):
        bench.turn("11-22 13:00:00")
    assert [request.initiator for request in bench.requests.values()] == ["rule/schedule-2"]
    bench.trouble = None
    assert bench.turn("11-22 13:00:05") == LONGEST_SLEEP
    assert [request.initiator for request in bench.requests.values()] == ["rule/schedule-2", "rule/schedule-1"]


def test_a_request_that_is_refused_is_not_asked_for_until_the_next_tick() -> None:
    bench = Bench("0 * * * *")
    bench.turn("11-22 12:30:00")
    bench.trouble = ProjectUnknown("it is gone")
    bench.turn("11-22 13:00:00")
    bench.trouble = None
    bench.turn("11-22 13:00:30")
    assert bench.requests == {}
    bench.turn("11-22 14:00:00")
    assert bench.ticks == ["2026-11-22T14:00:00Z"]


def test_a_kill_between_request_and_progress_makes_no_second_build() -> None:
    class Killed(BaseException):
        pass

    bench = Bench("0 * * * *")
    bench.turn("11-22 12:30:00")
    kept = bench.requests

    class Dying(dict[str, BuildRequest]):
        def setdefault(self, key: str, value: Any = None) -> Any:
            raise Killed

    bench.requests = Dying()
    with pytest.raises(Killed):
        bench.turn("11-22 13:00:00")
    bench.requests = kept
    bench.start()
    bench.turn("11-22 14:30:00")
    bench.start()
    bench.turn("11-22 14:31:00")
    assert bench.ticks == ["2026-11-22T13:00:00Z"]


def test_the_request_carries_the_version_and_the_variables_of_the_schedule() -> None:
    variable = {"name": "DEPLOY", "value": "no"}
    bench = Bench([{"cron": "0 * * * *", "name": "n", "sourceVersion": "main", "environmentVariables": [variable]}])
    bench.turn("11-22 12:30:00")
    bench.turn("11-22 13:00:00")
    request = next(iter(bench.requests.values()))
    assert (request.source_version, request.dedupe_key) == ("main", "schedule:web:n:2026-11-22T13:00:00Z")
    assert request.overrides == {"environmentVariablesOverride": [{**variable, "type": "PLAINTEXT"}]}


def test_the_next_run_of_each_schedule_is_told_or_that_there_is_none() -> None:
    bench = Bench(["rate(1 hour)", {"cron": "cron(0 3 1 1 ? 1999)", "name": "past"}])
    bench.turn("11-22 12:00:00")
    bench.clock.at = at("11-22 12:20:00")
    first, past = bench.schedules.next_runs(bench.projects()[0])
    assert (first.name, first.expression, first.at) == ("schedule-1", "rate(1 hour)", at("11-22 13:00:00"))
    assert (past.name, past.at) == ("past", None)


def test_the_loop_ends_when_it_is_told_and_looks_at_once_when_it_is_woken() -> None:
    stop = StopToken()
    slept: list[float] = []

    def then(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            stop.set()

    bench = Bench("0 * * * *")
    bench.clock = ManualClock(at("11-22 12:58:30"), then)
    bench.start()
    bench.schedules.run(stop)
    assert slept == [LONGEST_SLEEP, 30.0, LONGEST_SLEEP]
    assert bench.ticks == ["2026-11-22T13:00:00Z"]
