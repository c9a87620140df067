"""The janitor drops what has expired, and touches nothing that is not ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from agent.container.spec import ContainerSpec
from agent.daemon.janitor import Chore, Janitor
from agent.daemon.retention import PASSING, Keep, Lot, outlived
from agent.errors import EngineUnavailable, ImageUnavailable
from agent.kit.room import taken_by
from agent.model.report import ReportDetails
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.outbox import Outbox
from agent.store.reports import Reports
from tests.fakes.engine import FakeEngine
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, started
from tests.unit.store.test_reports import DAY, a_report


class Host:
    """A janitor with a directory of builds and one of secrets."""

    def __init__(self, place: Path, keep: Keep | None = None) -> None:
        self.builds, self.secrets = place / "builds", place / "secrets"
        self.builds.mkdir()
        self.secrets.mkdir()
        self.database = a_database(place)
        self.engine = FakeEngine(("debian:12",))
        self.clock = ManualClock()
        self.keep = keep or Keep()
        self.removed: list[Path] = []
        self.stubborn: set[Path] = set()
        self.janitor = Janitor(
            "agent",
            self.database,
            self.engine,
            self.builds,
            self.secrets,
            self._reclaim,
            self.clock,
            keep=lambda: self.keep,
        )

    def _reclaim(self, path: Path) -> None:
        if path in self.stubborn:
            raise ImageUnavailable("no such image")
        self.removed.append(path)
        for above, folders, files in os.walk(path, topdown=False):
            for name in files:
                Path(above, name).unlink()
            for name in folders:
                Path(above, name).rmdir()
        path.rmdir()

    def build(self, number: int, status: Status = Status.FAILED, *, log: int = 10, owing: bool = False) -> Path:
        """Store a build that has ended so, with all that it left, and return its directory."""
        build = a_build(number, at=NOON + number)
        Builds(self.database).add(build)
        Builds(self.database).save(build.evolve(status=status))
        if owing:
            self.database.execute("UPDATE builds SET owing = 1 WHERE id = ?", build.id)
        root = self.builds / build.uuid
        for name in ("workspace", "control", "out", "log"):
            (root / name).mkdir(parents=True)
            (root / name / "file").write_bytes(b"x" * log)
        os.utime(root, (NOON + number, NOON + number))
        return root


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} if root.exists() else set()


def test_reports_that_have_expired_go_with_the_next_sweep(tmp_path: Path) -> None:
    host = Host(tmp_path)
    reports = Reports(host.database)
    reports.put(a_report(), ReportDetails())
    host.janitor.sweep()
    assert reports.list() == [a_report().arn]
    host.clock.at = NOON + 30 * DAY
    host.janitor.sweep()
    assert (reports.list(), reports.groups()) == ([], [])


def test_a_build_that_has_ended_keeps_its_log_alone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert names(root := host.build(1)) == {"workspace", "control", "out", "log"}
    running = host.build(2, Status.IN_PROGRESS)
    host.janitor.sweep()
    assert names(root) == {"log"}
    assert names(running) == {"workspace", "control", "out", "log"}


def test_a_tree_whose_image_is_gone_stays_and_holds_up_no_other(tmp_path: Path) -> None:
    host = Host(tmp_path)
    one, two = host.build(1), host.build(2)
    host.stubborn = {one / "workspace"}
    host.janitor.sweep()
    assert (names(one), names(two)) == ({"workspace", "log"}, {"log"})


def test_what_has_a_strange_name_in_our_directories_is_left_alone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (host.builds / "notes" / "workspace").mkdir(parents=True)
    (host.builds / "README").touch()
    (host.secrets / "notes").mkdir()
    host.janitor.sweep()
    assert (host.builds / "notes" / "workspace").is_dir()
    assert (host.builds / "README").exists()
    assert (host.secrets / "notes").is_dir()


def test_a_link_that_leads_out_of_our_directories_is_not_followed(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(logs=0))
    outside = tmp_path / "outside"
    (outside / "workspace").mkdir(parents=True)
    root = host.build(1)
    (root / "out" / "file").unlink()
    (root / "out").rmdir()
    (root / "out").symlink_to(outside)
    name = "11111111-1111-4111-8111-111111111111"
    (host.builds / name).symlink_to(outside)
    (host.secrets / name).symlink_to(outside)
    host.clock.at += 15 * DAY
    host.janitor.sweep()
    assert (outside / "workspace").is_dir()
    assert not root.exists()
    assert (host.builds / name).is_symlink()


def test_a_container_without_our_label_stays_whatever_its_name(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for agent, build in (("agent", "web:gone"), ("another", "web:theirs")):
        spec = ContainerSpec(build, agent, "debian:12", ("sh",), "/", ())
        host.engine.create(spec)
    host.janitor.sweep()
    assert [made.spec.agent_id for made in host.engine.containers.values()] == ["another"]


def test_a_build_whose_record_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    host = Host(tmp_path)
    root = host.build(1, Status.IN_PROGRESS)
    host.engine.create(ContainerSpec(a_build(1).id, "agent", "debian:12", ("sh",), "/", ()))
    host.database.execute("UPDATE builds SET document = 'broken'")
    host.janitor.sweep()
    assert "workspace" in names(root)
    assert len(host.engine.containers) == 1


def test_failed_workspaces_are_kept_as_long_and_as_many_as_is_wanted(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(failed_workspaces=3600, failed_workspaces_count=2))
    green, *red = host.build(1, Status.SUCCEEDED), host.build(2), host.build(3, Status.FAULT), host.build(4)
    for at, root in enumerate(red):  # a directory is as old as its build's end, and ends of the same tick are a tie
        for passing in PASSING:
            shutil.rmtree(root / passing, ignore_errors=True)
        os.utime(root, (NOON + at, NOON + at))
    host.janitor.sweep()
    assert [("workspace" in names(root)) for root in (green, *red)] == [False, False, True, True]
    host.clock.at = NOON + 3604
    for at, root in enumerate(red, start=2):  # as when the builds ended
        os.utime(root, (NOON + at, NOON + at))
    os.utime(red[2], (NOON + 5, NOON + 5))
    host.janitor.sweep()
    assert [("workspace" in names(root)) for root in red] == [False, False, True]
    host.keep = Keep(failed_workspaces=3600, failed_workspaces_size=0)
    host.janitor.sweep()
    assert names(red[2]) == {"log"}


def test_logs_go_by_age_but_not_what_a_sink_has_still_to_get(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(logs=DAY))
    done, owed = host.build(1), host.build(2, owing=True)
    host.clock.at = NOON + 2 * DAY
    host.janitor.sweep()
    assert (done.exists(), owed.exists()) == (False, True)
    host.clock.at = NOON + 15 * DAY
    host.janitor.sweep()
    assert not owed.exists()


def test_the_oldest_logs_go_when_all_together_take_too_much(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(logs=None))
    roots = [host.build(number, log=100_000) for number in (1, 2, 3)]
    host.keep = Keep(logs=None, logs_size=int(taken_by(roots[0] / "log") * 2.5))
    host.janitor.sweep()
    assert [root.exists() for root in roots] == [False, True, True]


def test_a_forgotten_build_goes_with_its_directory_and_its_events_stay(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(builds=20 * DAY, builds_least=1))
    old, new = host.build(1), host.build(2)
    Outbox(host.database).add(started(a_build(1)))
    host.clock.at = NOON + 21 * DAY
    host.janitor.sweep()
    assert (old.exists(), new.exists()) == (False, True)
    assert [build.number for build in Builds(host.database).list()] == [2]
    assert len(Outbox(host.database).pending("sink")) == 1


def test_when_the_disk_is_full_things_go_in_their_order_until_there_is_room(tmp_path: Path) -> None:
    host = Host(tmp_path, Keep(failed_workspaces=3600))
    root = host.build(1)
    done: list[str] = []

    def shed(name: str) -> Callable[[float, Callable[[], bool]], object]:
        def act(_: float, __: Callable[[], bool]) -> None:
            done.append(name)
            if name == "images":
                raise EngineUnavailable("away")

        return act

    host.janitor.chores = (Chore(shed=shed("spares")), Chore(shed=shed("images")))
    assert host.janitor.shed(lambda: len(done) == 1)
    assert (done, "workspace" in names(root)) == (["spares"], True)
    done.clear()
    assert not host.janitor.shed(lambda: False)
    assert (done, "workspace" in names(root)) == (["spares", "images"], False)


def test_of_several_things_the_newest_stay() -> None:
    lots = [Lot(Path(str(at)), at, 10) for at in (3, 1, 2)]
    assert outlived(lots, before=0) == []
    assert [lot.at for lot in outlived(lots, before=2)] == [1]
    assert [lot.at for lot in outlived(lots, before=0, count=1)] == [1, 2]
    assert [lot.at for lot in outlived(lots, before=0, size=20)] == [1]
