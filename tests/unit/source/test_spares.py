"""Spare work trees: what is made from one is what a fresh checkout is."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit.service import StopToken
from agent.model.project import Source
from agent.source.sources import Sources
from agent.source.spares import Disk, Spares
from tests.fakes.repository import Repository, git

DAY = 86400.0


def roomy(_: Path) -> Disk:
    """A disk with room, whatever this machine's has."""
    return Disk(1 << 40, 1 << 40, 0, 0)


class Room:
    """Sources with spares of the smallest repositories, and sources without."""

    def __init__(self, place: Path, repository: Repository) -> None:
        self.place = place
        self.repository = repository
        self.spares = Spares(place / "spares", least_files=1, disk_of=roomy)
        self.sources = Sources(place / "mirrors", spares=self.spares)
        self.plain = Sources(place / "mirrors")

    def source(self, **members: object) -> Source:
        return Source.model_validate({"type": "GIT", "location": self.repository.url, **members})

    def check_out(self, name: str, sources: Sources | None = None, **members: object) -> Path:
        workspace = self.place / name
        (sources or self.sources).fetch(self.source(**members), "main", workspace, lambda _: None)
        return workspace

    def prepare(self) -> Path:
        """Check out once, and have the spare that follows."""
        self.check_out("before")
        assert self.spares.make() == 1
        (spare,) = self.ready()
        return spare

    def ready(self) -> list[Path]:
        return [path for path in (self.place / "spares").glob("*/*.*") if path.parent.name != "aside"]


@pytest.fixture
def room(tmp_path: Path, repository: Repository) -> Iterator[Room]:
    """A repository that holds a bit of everything."""
    work = repository.work
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / "link").symlink_to("dir/file")
    repository.commit("more", keep="kept", a__b__c="deep", becomes="a file", tree__x="1", tree__y="2", gone__only="1")
    yield Room(tmp_path, repository)
    shutil.rmtree(tmp_path / "spares", ignore_errors=True)


def change_everything(repository: Repository) -> None:
    """Commit what may happen to a file between two commits."""
    work = repository.work
    (work / "run.sh").chmod(0o644)
    (work / "link").unlink()
    (work / "link").symlink_to("/nowhere")
    (work / "becomes").unlink()
    shutil.rmtree(work / "tree")
    (work / "tree").symlink_to("a")
    shutil.rmtree(work / "gone")
    repository.commit("changed", becomes__a__directory="1", dir__file="2", new__file="n")


def seen(root: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of everything below *root*; of git's own files those that say no times."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name in {".git/index", ".git/logs/HEAD"}:
            continue
        mode = path.lstat().st_mode
        content = str(path.readlink()) if stat.S_ISLNK(mode) else path.read_text() if stat.S_ISREG(mode) else ""
        found[name] = (mode, content)
    return found


@pytest.mark.parametrize("depth", [0, 1])
def test_a_checkout_from_a_spare_is_what_a_fresh_one_is(room: Room, depth: int) -> None:
    spare = room.prepare()
    inode = (spare / "keep").stat().st_ino
    change_everything(room.repository)
    taken = room.check_out("taken", gitCloneDepth=depth)
    assert (taken / "keep").stat().st_ino == inode, "the file was there already"
    assert room.ready() == []
    assert seen(taken) == seen(room.check_out("fresh", room.plain, gitCloneDepth=depth))
    assert git(taken, "status", "--porcelain", "--ignored") == ""
    assert git(taken, "ls-files", "--stage") == git(room.place / "fresh", "ls-files", "--stage")
    assert git(taken, "rev-list", "--count", "HEAD") == ("1" if depth else "3")


def test_git_knows_the_files_of_a_taken_spare_without_reading_them(room: Room) -> None:
    room.prepare()
    room.repository.commit("changed", dir__file="2")
    taken = room.check_out("taken")
    assert git(taken, "diff-files", "--name-only") == "", "this one refreshes nothing"
    git(taken, "fsck", "--connectivity-only")


def test_no_file_is_older_than_its_checkout_for_tools_compare_times_with_those_of_cached_results(room: Room) -> None:
    room.prepare()
    begun = time.time_ns()
    taken = room.check_out("taken")
    files = [path for path in taken.rglob("*") if ".git" not in path.parts and not path.is_dir()]
    assert files
    assert min(path.lstat().st_mtime_ns for path in files) >= begun


def test_what_was_a_submodule_and_what_becomes_one_is_filled_as_ever(room: Room, tmp_path: Path) -> None:
    child = Repository(tmp_path / "server", "child")
    child.commit("first", inner="1")
    room.repository.run("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", child.url, "sub")
    room.repository.commit("with a submodule", file="1")
    modules = {"gitSubmodulesConfig": {"fetchSubmodules": True}}
    room.prepare()
    taken = room.check_out("taken", **modules)
    assert (taken / "sub" / "inner").read_text() == "1"
    assert git(taken, "status", "--porcelain") == ""
    assert room.spares.make() == 1
    room.repository.run("rm", "-q", "-f", "sub")
    room.repository.commit("a file in its place", sub="file")
    assert (room.check_out("after", **modules) / "sub").read_text() == "file"


def test_line_ends_follow_attributes_that_changed_although_the_file_did_not(room: Room) -> None:
    room.prepare()
    room.repository.commit("windows", **{".gitattributes": "keep text eol=crlf\n"})
    room.repository.commit("text", keep="line\n")
    assert room.check_out("windows").joinpath("keep").read_bytes() == b"line\r\n"
    assert room.spares.make() == 1
    room.repository.commit("unix", **{".gitattributes": "keep text eol=lf\n"})
    assert room.check_out("unix").joinpath("keep").read_bytes() == b"line\n"
    assert room.ready() == [], "it could not become this commit"


def test_a_spare_is_taken_once_and_two_checkouts_at_once_are_both_whole(room: Room) -> None:
    room.prepare()
    change_everything(room.repository)
    threads = [threading.Thread(target=room.check_out, args=(f"at-once-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert room.spares.make() == 1, "one serves all of them"
    fresh = seen(room.check_out("fresh", room.plain))
    assert [seen(room.place / f"at-once-{number}") == fresh for number in range(3)] == [True] * 3


@pytest.mark.parametrize("harm", ["no index", "torn index", "file gone", "file changed", "other commit"])
def test_a_spare_that_is_not_what_it_should_be_does_no_harm(room: Room, harm: str) -> None:
    spare = room.prepare()
    index = spare / ".git" / "index"
    if harm == "no index":
        index.unlink()
    elif harm == "torn index":
        index.write_bytes(index.read_bytes()[:100])
    elif harm == "file gone":
        (spare / "dir" / "file").unlink()
    elif harm == "file changed":
        (spare / "dir" / "file").write_text("something else")
    else:
        spare.rename(spare.with_name(f"{spare.name.partition('.')[0]}.{'0' * 40}"))
    change_everything(room.repository)
    assert seen(room.check_out("taken")) == seen(room.check_out("fresh", room.plain))


def test_a_checkout_killed_while_it_took_a_spare_begins_anew(room: Room) -> None:
    spare = room.prepare()
    workspace = room.check_out("taken", room.plain)
    spare.rename(workspace / ".git" / "spare")
    (workspace / "keep").unlink()
    (workspace / ".git" / "spare" / "keep").rename(workspace / "keep")
    (workspace / ".git" / "index").unlink()
    change_everything(room.repository)
    assert seen(room.check_out("taken")) == seen(room.check_out("fresh", room.plain))


def test_a_spare_of_an_earlier_boot_is_never_taken_and_goes(room: Room) -> None:
    spare = room.prepare()
    earlier = spare.with_name(f"00000000-0000-0000-0000-000000000000.{spare.name.partition('.')[2]}")
    spare.rename(earlier)
    (earlier / "keep").write_text("torn")
    assert (room.check_out("taken") / "keep").read_text() == "kept"
    room.spares.sweep(time.time())
    assert [path for path in (room.place / "spares").rglob("*") if path.is_file()] == [room.place / "spares" / "lock"]


def test_what_a_killed_maker_left_goes_but_not_while_its_git_still_writes(room: Room) -> None:
    debris = room.place / "spares" / "aside" / "half"
    debris.mkdir(parents=True)
    (debris / "file").write_text("x")
    with room.spares._alone() as handle:  # the descriptor that a git inherits
        assert handle is not None
        other = Spares(room.place / "spares", least_files=1, disk_of=roomy)
        other.sweep(time.time())
        assert debris.exists()
        room.check_out("meanwhile")
        assert room.spares.make() == 0
    other.sweep(time.time())
    assert not debris.exists()


def test_a_spare_that_nobody_takes_goes_after_its_time(room: Room) -> None:
    spare = room.prepare()
    room.spares.sweep(time.time() + 6 * DAY)
    assert spare.exists()
    room.spares.sweep(time.time() + 8 * DAY)
    assert not spare.exists()
    assert not spare.parent.exists()


def test_none_is_made_where_they_are_off_or_files_are_few_or_the_disk_has_no_room(room: Room) -> None:
    for spares in (
        Spares(room.place / "off", kept=0, least_files=1, disk_of=roomy),
        Spares(room.place / "few", least_files=1000, disk_of=roomy),
        Spares(room.place / "full", least_files=1, disk_of=lambda _: Disk(1000 << 30, (10 << 30) + 999, 0, 0)),
        Spares(room.place / "inodes", least_files=1, disk_of=lambda _: Disk(1 << 30, 1 << 30, 1000, 50)),
    ):
        sources = Sources(room.place / "mirrors", spares=spares)
        room.check_out("ws", sources)
        assert spares.make() == 0
        assert not list(spares.root.glob("*/*.*"))


def test_a_full_disk_costs_the_spares_first(room: Room) -> None:
    spare = room.prepare()
    room.spares.shed()
    assert not spare.exists()
    spare = room.prepare()
    Spares(room.place / "spares", disk_of=lambda _: Disk(1000 << 30, 4 << 30, 0, 0)).sweep(time.time())
    assert not spare.exists()


def test_a_damaged_mirror_takes_its_spare_with_it(room: Room) -> None:
    spare = room.prepare()
    change_everything(room.repository)
    (mirror,) = (path for path in (room.place / "mirrors").glob("*.git") if path.is_dir())
    for pack in (mirror / "objects" / "pack").iterdir():
        pack.unlink()
    taken = room.check_out("taken")
    assert not spare.exists()
    assert seen(taken) == seen(room.check_out("fresh", room.plain))


def test_a_spare_on_another_disk_is_of_no_use_and_does_no_harm(room: Room) -> None:
    elsewhere = Path(f"/dev/shm/buildspecd-spares-{os.getpid()}-{threading.get_ident()}")
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == room.place.stat().st_dev:
        pytest.skip("there is only one disk")
    try:
        spares = Spares(elsewhere, least_files=1, disk_of=roomy)
        sources = Sources(room.place / "mirrors", spares=spares)
        room.check_out("one", sources)
        assert spares.make() == 1
        assert git(room.check_out("two", sources), "status", "--porcelain") == ""
        spares.sweep(time.time())
        assert spares.make() == 0
        assert not list(elsewhere.glob("*/*.*"))
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


class OneTurn:
    """A clock that has the service end at its first pause."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, _: float, stop: StopToken) -> bool:
        stop.set()
        return True


def test_the_service_makes_what_a_checkout_has_asked_for_at_the_lowest_priority(room: Room) -> None:
    spares = Spares(room.place / "spares", least_files=1, disk_of=roomy, clock=OneTurn())
    room.check_out("ws", Sources(room.place / "mirrors", spares=spares))
    priorities: list[int] = []

    def serve() -> None:
        spares.run(StopToken())
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(120)
    assert priorities == [19]
    assert len(room.ready()) == 1
    assert os.getpriority(os.PRIO_PROCESS, 0) != 19, "only its own thread"
