"""What fails beneath a running daemon: its store, its scheduler, its poller; no build is lost, none is run twice."""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.container.spec import ContainerSpec
from agent.daemon.intake import Identity, Intake
from agent.daemon.janitor import Janitor
from agent.daemon.policy import Limits
from agent.daemon.scheduler import FAULT_PAUSE_SECONDS, Scheduler
from agent.daemon.supervisor import Supervisor
from agent.errors import BuildspecdError, DiskFull, Unavailable
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.status import Status
from agent.pipeline.job import Job, LetGo
from agent.pipeline.recorder import Recorder
from agent.source.remote import Heads
from agent.store.builds import Builds
from agent.store.cursors import Cursors
from agent.store.database import Database, Row
from agent.store.queue import Queue
from agent.triggers.poll import Poll, PollTarget
from tests.fakes.engine import FakeEngine
from tests.journey.waiting import until
from tests.unit.store.samples import ManualClock, a_build, a_database, a_project


class Frail(Database):
    """A database that fails as long as it is told to."""

    trouble: BuildspecdError | None = None

    def rows(self, sql: str, *values: object) -> list[Row]:
        self._fail()
        return super().rows(sql, *values)

    def execute(self, sql: str, *values: object) -> int:
        self._fail()
        return super().execute(sql, *values)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class Hurried(SystemClock):
    """A clock that nobody waits for longer than a moment."""

    def wait(self, seconds: float, stop: StopToken) -> bool:
        return super().wait(min(seconds, 0.01), stop)


class Ward:
    """A scheduler under its supervisor; its builds hold their places until they are let go of."""

    def __init__(self, directory: Path) -> None:
        self.database = Frail(directory / "builds.db")
        clock = Hurried()
        self.recorder = Recorder(self.database, clock)
        self.stop = StopToken()
        self.set_out: list[int] = []
        self.broken: list[BaseException] = []
        self.scheduler = Scheduler(
            owner="me",
            database=self.database,
            recorder=self.recorder,
            limits=lambda: Limits(5, lambda _: None),
            new_job=self._new_job,
            clock=clock,
        )
        self.supervisor = Supervisor([self.scheduler], clock)

    def _new_job(self, build: Build, letting_go: StopToken) -> Job:
        self.set_out.append(build.number)
        if self.broken:
            raise self.broken.pop()
        letting_go.wait(30)
        raise LetGo


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    found = Ward(tmp_path)
    yield found
    found.database.trouble = None
    found.stop.set()
    found.scheduler.wake()
    assert found.supervisor.wait(10) == []


def test_a_scheduler_that_breaks_on_the_store_goes_on_and_runs_no_build_twice(ward: Ward) -> None:
    for number in (1, 2):
        ward.recorder.add(a_build(number, at=SystemClock().now()))
    ward.supervisor.start(ward.stop)
    until(lambda: sorted(ward.set_out) == [1, 2], "both builds")
    ward.database.trouble = DiskFull("no space left")
    ward.scheduler.wake()
    until(lambda: "DiskFull" in ward.supervisor.troubles["scheduler"], "the trouble")
    ward.database.trouble = None
    ward.recorder.add(a_build(3, at=SystemClock().now()))
    until(lambda: 3 in ward.set_out, "the third build")
    assert sorted(ward.set_out) == [1, 2, 3]
    assert ward.scheduler.running() == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_build_whose_thread_breaks_on_the_store_is_taken_up_again(ward: Ward) -> None:
    ward.broken += [DiskFull("no space left"), OSError("input/output error")]
    ward.recorder.add(a_build(1, at=SystemClock().now()))
    ward.supervisor.start(ward.stop)
    until(lambda: ward.set_out == [1, 1, 1], "the third attempt")
    assert ward.scheduler.running() == 1
    assert FAULT_PAUSE_SECONDS == 10


def test_a_claim_of_an_agent_that_is_no_more_is_taken_over(ward: Ward) -> None:
    ward.recorder.add(a_build(1, at=SystemClock().now()))
    assert Queue(ward.database).claim(a_build(1).id, "a lost agent id", SystemClock().now(), 3600)
    ward.supervisor.start(ward.stop)
    until(lambda: ward.set_out == [1], "the build")
    assert [place.owner for place in Queue(ward.database).places()] == ["me"]


def test_a_build_that_ended_and_kept_its_place_is_not_run_again(ward: Ward) -> None:
    build = a_build(1, at=SystemClock().now())
    ward.recorder.add(build)
    Queue(ward.database).claim(build.id, "me", 0, 1)
    ended = build.left(build.start_time, Status.SUCCEEDED).evolve(status=Status.SUCCEEDED)
    ward.recorder.save(ended)
    ward.supervisor.start(ward.stop)
    until(lambda: Queue(ward.database).places() == [], "the place to be given up")
    assert ward.set_out == []


def test_a_backup_that_reads_does_not_hold_up_the_store(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    recorder = Recorder(database, SystemClock())
    recorder.add(a_build(1))
    with closing(sqlite3.connect(tmp_path / "builds.db")) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM builds").fetchone() == (1,)
        recorder.add(a_build(2))
        assert reader.execute("SELECT count(*) FROM builds").fetchone() == (1,)
    assert len(Builds(database).list()) == 2


def test_a_store_that_somebody_holds_locked_is_a_fault_that_passes(tmp_path: Path) -> None:
    database = Database(tmp_path / "builds.db", patience=0.05)
    recorder = Recorder(database, SystemClock())
    with closing(sqlite3.connect(tmp_path / "builds.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked") as caught:
            recorder.add(a_build(1))
        assert caught.value.retry
        assert "backup" in caught.value.hint
        other.execute("ROLLBACK")
    recorder.add(a_build(1))
    assert len(Builds(database).list()) == 1


def test_a_full_disk_is_named_and_the_store_is_whole_afterwards(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    recorder = Recorder(database, SystemClock())
    pages = database.row("PRAGMA page_count")
    assert pages is not None
    database.row(f"PRAGMA max_page_count = {pages[0] + 1}")
    numbers = itertools.count(1)
    with pytest.raises(DiskFull):
        deque((recorder.add(a_build(number)) for number in numbers), maxlen=0)
    added = next(numbers) - 2
    assert len(Builds(database).list(limit=1000)) == len(Queue(database).places()) == added
    database.row("PRAGMA max_page_count = 1000000")
    recorder.add(a_build(2000))
    assert len(Queue(database).places()) == added + 1


def a_spec(build_id: str, agent_id: str) -> ContainerSpec:
    """Return a container of a build."""
    return ContainerSpec(build_id, agent_id, "image:1", ("/bin/sh",), "/", ())


class Killed(BaseException):
    """The process ends here."""


class Grave(Cursors):
    """Remembers nothing the first time: the process is killed just before it would."""

    def __init__(self, database: Database, deaths: int) -> None:
        super().__init__(database)
        self.deaths = deaths

    def set(self, key: str, value: str) -> None:
        if self.deaths:
            self.deaths -= 1
            raise Killed
        super().set(key, value)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_push_that_is_taken_in_while_the_daemon_dies_is_one_build(tmp_path: Path, deaths: int) -> None:
    database, clock, project = a_database(tmp_path), ManualClock(), a_project()
    recorder = Recorder(database, clock)
    intake = Intake(database, recorder, {"web": project}.get, lambda: Identity("us-east-1", "0" * 12), clock)
    cursors = Grave(database, deaths)
    heads = ["a" * 40]

    def look() -> None:
        poll = Poll(
            projects=list,
            submit=intake.submit,
            cursors=cursors,
            heads=lambda *_: Heads({"refs/heads/main": heads[-1]}, "refs/heads/main", heads[-1]),
            clock=clock,
        )
        poll.look(PollTarget(project, 1.0))

    for number in (1, 2):
        cursors.deaths = deaths
        for _ in range(deaths):
            with pytest.raises(Killed):
                look()
        look()
        look()
        assert [build.source_version for build in Builds(database).list()][::-1] == heads
        heads.append(str(number) * 40)


def test_the_janitor_removes_only_what_is_this_agents_and_belongs_to_no_build_that_runs(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    recorder = Recorder(database, SystemClock())
    running, waiting, ended = a_build(1), a_build(2), a_build(3)
    for build in (running, waiting, ended):
        recorder.add(build)
    recorder.complete(recorder.leave(ended, Status.SUCCEEDED), Status.SUCCEEDED)
    engine = FakeEngine(("image:1",))
    wanted = {
        "mine": (running.id, "me"),
        "queued": (waiting.id, "me"),
        "theirs": ("x:1", "another"),
        "odd": ("x:2", ""),
    }
    unwanted = {"ended": (ended.id, "me"), "unknown": ("nobody:knows", "me")}
    names = {
        name: engine.create(a_spec(build_id=build, agent_id=agent))
        for name, (build, agent) in {**wanted, **unwanted}.items()
    }
    for build in (running, ended):
        (tmp_path / "builds" / build.uuid / "workspace").mkdir(parents=True)
        (tmp_path / "builds" / build.uuid / "log").mkdir()
        (tmp_path / "secrets" / build.uuid).mkdir(parents=True)
    reclaimed: list[Path] = []
    janitor = Janitor(
        "me", database, engine, tmp_path / "builds", tmp_path / "secrets", reclaimed.append, SystemClock()
    )
    janitor.sweep()
    assert set(engine.containers) == {names[name] for name in wanted}
    assert reclaimed == [tmp_path / "builds" / ended.uuid / "workspace"]
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == [running.uuid]


def test_a_build_that_starts_while_the_janitor_looks_keeps_its_container(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    recorder = Recorder(database, SystemClock())

    class Busy(FakeEngine):
        def owned(self, agent_id: str) -> dict[str, str]:
            recorder.add(a_build(1))
            self.create(a_spec(build_id=a_build(1).id, agent_id=agent_id))
            (tmp_path / "builds" / a_build(1).uuid / "workspace").mkdir(parents=True)
            return super().owned(agent_id)

    engine = Busy(("image:1",))
    reclaimed: list[Path] = []
    Janitor("me", database, engine, tmp_path / "builds", tmp_path / "secrets", reclaimed.append, SystemClock()).sweep()
    assert (len(engine.containers), reclaimed) == (1, [])
