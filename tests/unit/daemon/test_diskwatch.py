"""The disk watch: who waits, who is stopped, and that the others go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.container.upkeep import Written
from agent.daemon.diskwatch import (
    MEMORY_QUOTA,
    SHED_SECONDS,
    DiskLimits,
    DiskWatch,
    greediest,
    shortage,
    worth_stopping,
)
from agent.kit.room import Room, room_at, taken_by
from agent.model.amount import in_words, reserve_of
from agent.model.cause import Cause
from agent.model.status import Status
from agent.pipeline.job import Paths
from tests.fakes.upkeep import FakeUpkeep
from tests.unit.store.samples import ManualClock

MB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=2000", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False) if os.geteuid() == 0 else None
    if mounted is None or mounted.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Yard:
    """A watch over one disk, with jobs of which only what it looks at is there."""

    def __init__(self, disk: Path, **limits: Any) -> None:
        self.disk = disk
        self.limits = DiskLimits(**{"reserve": "16MiB", **limits})
        self.jobs: dict[str, Any] = {}
        self.clock = ManualClock()
        self.upkeep = FakeUpkeep()
        self.sheds: list[Callable[[], bool]] = []
        self.watch = DiskWatch(
            disks=lambda: (disk, disk / "not-there"),
            jobs=lambda: self.jobs,
            limits=lambda: self.limits,
            shed=self.sheds.append,
            upkeep=self.upkeep,
            agent_id="agent",
            clock=self.clock,
        )

    def start(self, name: str) -> Paths:
        paths = Paths(self.disk / name, self.disk.parent / "memory" / name)
        for directory in (paths.workspace, paths.control, paths.handed):
            directory.mkdir(parents=True)
        self.jobs[name] = SimpleNamespace(paths=paths, cut_short=None)
        return paths

    def look(self, seconds: float = 2.0) -> list[str]:
        """Look once; return the builds that are told to end."""
        self.clock.at += seconds
        self.watch.look(self.jobs)
        return [name for name, job in self.jobs.items() if job.cut_short]


def fill(file: Path, size: int) -> None:
    with file.open("ab") as out:
        out.write(b"x" * size)


def test_builds_wait_while_less_than_the_reserve_is_free_and_room_is_asked_for(disk: Path) -> None:
    yard = Yard(disk)
    assert yard.watch.hold() == ""
    fill(disk / "other", 50 * MB)
    assert yard.watch.hold() == (
        f"waiting for disk space: 14.0 MiB are free at {disk}, and disk.reserve keeps 16.0 MiB"
    )
    yard.look()
    assert len(yard.sheds) == 1
    assert not yard.sheds[0]()
    (disk / "other").unlink()
    assert yard.sheds[0]()
    assert yard.watch.hold() == ""


def test_room_is_not_asked_for_at_every_look(disk: Path) -> None:
    yard = Yard(disk)
    fill(disk / "other", 50 * MB)
    yard.start("one")
    for _ in range(3):
        yard.look()
    assert len(yard.sheds) == 1
    yard.look(SHED_SECONDS)
    assert len(yard.sheds) == 2


def test_the_build_that_grew_most_is_stopped_when_half_of_the_reserve_is_gone(disk: Path) -> None:
    yard = Yard(disk)
    one, two = yard.start("one"), yard.start("two")
    fill(one.workspace / "large", 30 * MB)
    fill(two.workspace / "small", MB)
    fill(disk / "other", 19 * MB)
    assert yard.look() == []
    fill(two.workspace / "small", 8 * MB)
    assert yard.look(5) == ["two"]
    cut = yard.jobs["two"].cut_short
    assert (cut.status, cut.cause, cut.context.status_code, cut.grace) == (
        Status.FAILED,
        Cause.DISK_QUOTA_EXCEEDED,
        "DISK_QUOTA_EXCEEDED",
        0.0,
    )
    assert "Build was stopped: the build wrote 9.0 MiB: " in cut.context.message
    assert yard.look(5) == ["two"], "the others are given the time that its end takes"
    assert yard.look(60) == ["two"], "the other has not grown"
    fill(one.workspace / "large", 3 * MB)
    assert yard.look(5) == ["one", "two"], "there is next to nothing left"


def test_builds_are_not_blamed_for_a_disk_that_others_fill(disk: Path) -> None:
    yard = Yard(disk)
    fill(yard.start("one").workspace / "small", 1000)
    fill(disk / "other", 60 * MB)
    assert yard.look() == []


def test_a_build_that_writes_more_than_its_quota_is_stopped_wherever_it_writes(disk: Path, tmp_path: Path) -> None:
    yard = Yard(disk, build_quota=4 * MB)
    one, _, three = yard.start("one"), yard.start("two"), yard.start("three")
    fill(one.workspace / "file", 3 * MB)
    (tmp_path / "volume").mkdir()
    fill(tmp_path / "volume" / "data", 2 * MB)
    yard.upkeep.layers = {"two": Written(5 * MB), "three": Written(MB, (tmp_path / "volume",))}
    assert yard.look() == ["two"]
    fill(one.control / "output", 2 * MB)
    fill(three.workspace / "file", 3 * MB)
    assert yard.look() == ["one", "two", "three"]


def test_a_build_that_prints_without_end_is_stopped_and_a_hole_in_its_output_is_no_output(disk: Path) -> None:
    yard = Yard(disk, log_quota=MB)
    one, two = yard.start("one"), yard.start("two")
    fill(one.control / "output", 2 * MB)
    (two.control / "output").touch()
    os.truncate(two.control / "output", 1 << 40)
    assert yard.look() == ["one"]
    assert "the build printed 2.0 MiB" in yard.jobs["one"].cut_short.context.message


def test_a_build_that_fills_the_memory_for_secrets_is_stopped_and_the_room_is_there_again(disk: Path) -> None:
    yard = Yard(disk)
    one, two = yard.start("one"), yard.start("two")
    fill(one.handed / "large", MEMORY_QUOTA + 1)
    fill(one.handed / "environment", 10)
    (disk / "host").write_bytes(b"precious")
    (one.handed / "link").symlink_to(disk / "host")
    yard.watch.look_at_memory(yard.jobs)
    assert [bool(job.cut_short) for job in yard.jobs.values()] == [True, False]
    assert taken_by(one.secrets) < MB
    assert (one.handed / "environment").stat().st_size == 10
    assert (disk / "host").read_bytes() == b"precious"
    assert two.handed.is_dir()


def test_inodes_run_out_as_well(disk: Path) -> None:
    yard = Yard(disk)
    one = yard.start("one")
    for number in range(1950):
        (one.workspace / str(number)).touch()
    assert "inodes are free at" in yard.watch.hold()


def test_with_a_reserve_of_nothing_nobody_waits(disk: Path) -> None:
    yard = Yard(disk, reserve="0")
    fill(disk / "other", 63 * MB)
    assert yard.watch.hold() == ""


def test_an_engine_that_does_not_answer_hides_no_workspace(disk: Path) -> None:
    yard = Yard(disk, build_quota=MB)
    yard.upkeep.down = True
    fill(yard.start("one").workspace / "file", 2 * MB)
    assert yard.look() == ["one"]


def test_what_is_missing_of_a_reserve_is_told_as_a_part_of_it() -> None:
    assert shortage(Path("/d"), Room(50, 100), "40%") == (1.0, "")
    assert shortage(Path("/d"), Room(20, 100), "40%") == (
        0.5,
        "20 bytes are free at /d, and disk.reserve keeps 40 bytes",
    )
    assert shortage(Path("/d"), Room(100, 100, 10, 1000), "10%") == (0.2, "10 of 1000 inodes are free at /d")
    assert shortage(Path("/d"), Room(100, 100, 0, 0), "10%") == (1.0, "")


def test_a_build_that_has_grown_little_is_not_the_greediest() -> None:
    assert greediest({"a": 50, "b": 20}, {"a": 45}, 1) == "b"
    assert greediest({"a": 50, "b": 20}, {"a": 45, "b": 20}, 10) is None
    assert greediest({}, {}, 0) is None


def test_a_build_that_wrote_little_is_not_to_blame_for_a_disk_that_something_else_fills() -> None:
    assert worth_stopping(1000, 0.0, 1) == 250
    assert worth_stopping(1000, 0.0, 10) == 25
    assert worth_stopping(1000, 0.45, 50) == 20


def test_a_percentage_of_a_large_disk_is_ten_gibibytes_at_most() -> None:
    assert (reserve_of("10%", 1000), reserve_of("10%", 1 << 50), reserve_of("5GiB", 1)) == (100, 10 << 30, 5 << 30)
    assert [in_words(number) for number in (5, 2048, 300 << 20, 3 << 40)] == [
        "5 bytes",
        "2.0 KiB",
        "300 MiB",
        "3.0 TiB",
    ]


def test_a_tree_is_measured_without_following_links(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    fill(tmp_path / "outside", MB)
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "up").symlink_to(tmp_path)
    assert taken_by(tree) < 100_000
    assert taken_by(tmp_path / "nothing") == 0
    assert room_at(tmp_path).total > 0
