"""Usage: what builds use, sampled while they run; and how the agent stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.container.cgroups import Sample
from agent.daemon.standing import Surveyor
from agent.daemon.usage import SAMPLE_SECONDS, Usage, rates
from agent.model.build import LogRecord
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, finished, started

START = Sample(cpu=1.0, memory=1 << 20, cpus=2.0, memory_limit=4 << 20, read=0, written=0)


@dataclass
class Group:
    """A cgroup that uses one CPU and writes a megabyte a second."""

    clock: ManualClock
    begun: float = NOON

    def sample(self) -> Sample:
        passed = self.clock.at - self.begun
        return replace(START, cpu=1.0 + passed, written=int(passed) << 20)


@dataclass
class Host:
    clock: ManualClock = field(default_factory=ManualClock)
    jobs: dict[str, Any] = field(default_factory=dict)

    def usage(self) -> Usage:
        return Usage(lambda: self.jobs, self.clock, lambda _: Group(self.clock))  # type: ignore[arg-type,return-value]

    def run(self, usage: Usage, seconds: float) -> None:
        for _ in range(int(seconds / SAMPLE_SECONDS)):
            usage.look()
            self.clock.at += SAMPLE_SECONDS


def a_job(**members: Any) -> Any:
    return SimpleNamespace(build=a_build(), container="ab" * 32, **members)


def test_two_samples_make_the_figures_of_codebuild() -> None:
    later = replace(START, cpu=6.0, memory=2 << 20, read=50, written=100)
    assert rates(START, later, 10.0) == {
        "CPUUtilized": 512.0,
        "CPUUtilizedPercent": 25.0,
        "MemoryUtilized": 2.0,
        "MemoryUtilizedPercent": 50.0,
        "StorageReadBytes": 5.0,
        "StorageWriteBytes": 10.0,
    }
    both = rates(replace(START, received=0, sent=0), replace(START, received=100, sent=20), 10.0)
    assert (both["NetworkReceiveBytes"], both["NetworkTransmitBytes"]) == (10.0, 2.0)
    assert rates(START, START, 0.0) == {}


def test_a_build_of_more_than_a_minute_has_figures_and_each_is_taken_once() -> None:
    host = Host(jobs={"one": a_job()})
    usage = host.usage()
    host.run(usage, 50)
    assert usage.take() == []
    host.run(usage, 20)
    (figures,) = usage.take()
    assert figures.values["CPUUtilized"] == (1024.0,) * 6
    assert usage.take() == []


def test_the_end_of_a_long_build_is_told_and_a_short_build_is_not() -> None:
    host = Host(jobs={"long": a_job()})
    usage = host.usage()
    host.run(usage, 70)
    host.jobs = {"short": a_job()}
    host.run(usage, 30)
    host.jobs = {}
    host.run(usage, 10)
    assert len(usage.take()) == 1


def test_what_projects_used_adds_up_and_memory_is_what_runs_now() -> None:
    host = Host(jobs={"one": a_job(), "two": a_job()})
    usage = host.usage()
    host.run(usage, 30)
    totals = usage.totals()["web"]
    assert (totals.cpu_seconds, totals.written, totals.memory) == (40.0, 40 << 20, 2 << 20)
    host.jobs = {}
    usage.look()
    assert usage.totals()["web"].memory == 0


def test_a_container_that_has_no_cgroup_in_sight_is_not_looked_for_for_ever() -> None:
    host, asked = Host(jobs={"one": a_job()}), []
    usage = Usage(lambda: host.jobs, host.clock, lambda container: asked.append(container))
    host.run(usage, 100)
    assert len(asked) == 3
    assert usage.take() == []


def test_the_standing_counts_queue_logs_events_and_disks(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    builds, queue, outbox = Builds(database), Queue(database), Outbox(database)
    for number in (1, 2, 3):
        builds.add(a_build(number))
        queue.add(a_build(number).id, "web", None, NOON)
        outbox.add(started(a_build(number)))
    queue.claim(a_build(1).id, "me", NOON, 60)
    owed = LogRecord(bytes=100, delivered={"cloudwatch": 30, "s3": 100})
    ended = finished(a_build(3), NOON, Status.FAILED).build.evolve(logs=owed)
    builds.save(ended)
    running = SimpleNamespace(transcript=SimpleNamespace(totals=lambda: SimpleNamespace(bytes=9, delivered={"s3": 4})))
    clock = ManualClock(NOON + 60)
    surveyor = Surveyor(
        database,
        lambda: {"one": running},
        lambda: (tmp_path, Path("/no/where")),
        lambda: ["sns"],
        clock,  # type: ignore[dict-item,return-value]
    )
    standing = surveyor.look()
    assert (standing.queued, standing.running, standing.oldest_wait) == (2, 1, 60.0)
    assert standing.log_lag == 70 + 5
    assert standing.untold == {"sns": 3}
    assert list(standing.disks) == [tmp_path]
    outbox.delivered("sns", 3)
    assert surveyor.look() is standing  # asked again within a second
    clock.at += 1
    assert surveyor.look().untold == {"sns": 0}


def test_a_record_that_cannot_be_read_owes_nothing(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    Builds(database).add(a_build(1))
    database.execute("UPDATE builds SET owing = 1, document = 'broken'")
    assert Builds(database).log_lag() == 0
