"""What works beside the builds is killed ahead of every single thing that it does; the next daemon ends it as well."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.artifacts.destination import unpack_to
from agent.artifacts.select import select
from agent.artifacts.selection import Selection
from agent.artifacts.unfinished import unfinished
from agent.aws import Aws
from agent.buildlog.sink import Ledger as SinkLedger
from agent.buildlog.sink import Pace, Stretch
from agent.buildspec.plan import ArtifactPlan
from agent.daemon.ledgersweep import sweep_ledger
from agent.daemon.redelivery import REST_SECONDS
from agent.errors import AwsUnavailable
from agent.kit.beyond import Beyond
from agent.kit.service import StopToken
from agent.kit.tree import Tree
from agent.model.event import BuildEvent
from agent.model.project import WebhookFilter
from agent.notify.delivery import KEPT_SECONDS, Delivery, Pruning
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.ledger import FILE, UPLOAD, Ledger
from agent.store.outbox import Outbox
from agent.torture.cloud import CloudServer
from tests.fakes import hooks
from tests.fakes.fate import Fate, MortalAws, MortalDatabase, deaths
from tests.fakes.repository import Repository
from tests.restart.mortal import mortal
from tests.unit.daemon.test_redelivery import Office as LogOffice
from tests.unit.source.test_spares import Room
from tests.unit.store.samples import NOON, ManualClock, a_build, a_database, started
from tests.unit.triggers.hooks.test_desk import PULLS, a_project
from tests.unit.triggers.hooks.test_desk import Office as HookOffice

LOOKED_AT = ((PULLS, WebhookFilter(type="FILE_PATH", pattern="^src/")),)
"""What a payload alone does not tell."""


def fresh(tmp_path: Path, point: int) -> Path:
    place = tmp_path / str(point)
    place.mkdir()
    return place


@dataclass
class Ear:
    """A sink of events in the world outside: what it has heard, no kill takes back."""

    name: str = "ear"
    page: int = 2
    heard: list[int] = field(default_factory=list)
    fate: Fate = field(default_factory=Fate)

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        self.fate.meet()
        self.heard += [event.build.number for event in events]
        self.fate.meet()


def test_no_event_is_lost_or_told_out_of_order_wherever_its_delivery_is_killed(tmp_path: Path) -> None:
    clock = ManualClock()

    def prepare(point: int) -> tuple[Path, Ear]:
        place = fresh(tmp_path, point)
        database = a_database(place)
        for number in range(1, 6):
            Outbox(database).add(started(a_build(number, at=NOON)))
        database.close()
        return place, Ear()

    def live(there: tuple[Path, Ear], fate: Fate) -> None:
        place, ear = there
        ear.fate = fate
        database = MortalDatabase(place / "builds.db", fate)
        try:
            outbox = Outbox(database)
            delivery = Delivery(ear, outbox, clock)
            while delivery.turn() == 0.0:
                pass
            clock.at = NOON + KEPT_SECONDS + 1
            Pruning(outbox, ["ear"], clock).prune()
        finally:
            clock.at = NOON
            database.close()

    for point, there in deaths(prepare, live, least=10):
        live(there, Fate())
        heard = there[1].heard
        first = list(dict.fromkeys(heard))
        assert first == [1, 2, 3, 4, 5], (point, heard)
        assert len(heard) <= 5 + Ear.page, (point, heard)
        database = Database(there[0] / "builds.db")
        assert database.rows("SELECT seq FROM outbox") == [], point
        database.close()


class Shelf:
    """A sink outside: it has each byte at its place, however often it is given it."""

    name = "shelf"
    pace = Pace()

    def __init__(self, file: Path) -> None:
        self.file = file
        self.down = True

    def deliver(self, stretch: Stretch, _: SinkLedger) -> int:
        if self.down:
            raise AwsUnavailable("down")
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(handle, stretch.read(1 << 20), stretch.start)
        os.close(handle)
        return stretch.end


def redelivered(office: LogOffice, point: int) -> bool:
    """Bring what is owed, in a process of its own that is killed at *point*; return whether it lived."""
    child = os.fork()
    if child == 0:
        try:
            fate = mortal(point)
            office.database = MortalDatabase(office.directory / "builds.db", fate)
            office.recorder = Recorder(office.database, office.clock)
            office.new_daemon()
            with fate.watching():
                office.service.turn(StopToken())
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def test_a_log_that_is_owed_arrives_wherever_its_redelivery_is_killed(tmp_path: Path) -> None:
    for point in itertools.count(1):
        office = LogOffice(fresh(tmp_path, point))
        shelf = Shelf(office.directory / "shelf")
        office.sink = shelf  # type: ignore[assignment]
        assert office.ended().logs.owing
        office.database.close()
        shelf.down = False
        office.clock.at += REST_SECONDS
        survived = redelivered(office, point)
        assert survived or redelivered(office, 0), point
        database = Database(office.directory / "builds.db")
        (build,) = Builds(database).list()
        database.close()
        assert (build.logs.owing, build.logs.problems, build.logs.gaps) == (False, {}, ()), point
        assert shelf.file.read_bytes() == b"line of 1\n", point
        if survived:
            assert point > 2
            return


def test_a_spare_is_whole_or_none_and_nothing_is_left_wherever_its_making_is_killed(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "server")
    repository.commit("first", **{"buildspec.yml": "version: 0.2\n", "dir__file": "1"})

    def prepare(point: int) -> Room:
        room = Room(fresh(tmp_path, point), repository)
        room.check_out("before")
        return room

    def live(room: Room, _: Fate) -> None:
        room.spares.make()
        room.spares.sweep(room.place.stat().st_mtime)
        room.check_out("after")

    def seen(tree: Path) -> dict[str, object]:
        files = (path for path in tree.rglob("*") if ".git" not in path.relative_to(tree).parts)
        return {str(path.relative_to(tree)): path.read_bytes() for path in files if stat.S_ISREG(path.lstat().st_mode)}

    for point, room in deaths(prepare, live, every=8):
        again = Room(room.place, repository)
        shutil.rmtree(room.place / "after", ignore_errors=True)
        again.check_out("next")
        assert seen(again.place / "next") == seen(room.place / "before"), point
        again.spares.make()
        assert len(again.ready()) <= 1, point
        again.spares.sweep(room.place.stat().st_mtime)
        assert list((room.place / "spares" / "aside").iterdir()) == [], point
        shutil.rmtree(room.place)


def test_an_event_of_a_hook_starts_one_build_wherever_the_backlog_is_killed(tmp_path: Path) -> None:
    def prepare(point: int) -> Path:
        place = fresh(tmp_path, point)
        office = HookOffice(place)
        office.projects["shop"] = a_project(groups=LOOKED_AT)
        assert office.deliver("pull_request", hooks.github_pull())[0] == 202
        assert office.hooks.backlog() == 1, "it is looked at later"
        office.database.close()
        return place

    def live(place: Path, fate: Fate) -> None:
        office = HookOffice(place, database=MortalDatabase(place / "builds.db", fate))
        office.projects["shop"] = a_project(groups=LOOKED_AT)
        office.looks.paths = ["src/x"]
        try:
            office.settle()
        finally:
            office.database.close()

    for point, place in deaths(prepare, live, least=4):
        live(place, Fate())
        office = HookOffice(place)
        assert [build.source_version for build in office.builds()] == ["pr/7"], point
        assert office.hooks.backlog() == 0, point
        office.database.close()


def test_an_upload_that_was_begun_is_ended_and_struck_out_wherever_the_sweep_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CloudServer() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        cloud.stock(buckets=("ours",))
        aws = Aws(region="us-east-1", endpoint_url=cloud.url)
        client = aws.client("s3")
        theirs = client.create_multipart_upload(Bucket="ours", Key="theirs")["UploadId"]

        def prepare(point: int) -> Path:
            place = fresh(tmp_path, point)
            database = a_database(place)
            begun = Ledger(database, ManualClock(), owner="dead")
            for key in ("one", "two"):
                entry = begun.begin(UPLOAD, "ours", key)
                begun.mark(entry, client.create_multipart_upload(Bucket="ours", Key=key)["UploadId"])
            begun.begin(FILE, str(place / "half"))
            (place / "half-1").touch()
            (place / "whole").touch()
            database.close()
            return place

        def live(place: Path, fate: Fate) -> None:
            database = MortalDatabase(place / "builds.db", fate)
            mortal = MortalAws(region="us-east-1", endpoint_url=cloud.url)
            object.__setattr__(mortal, "fate", fate)
            try:
                sweep_ledger(Ledger(database, ManualClock()), mortal, NOON)
            finally:
                database.close()

        for point, place in deaths(prepare, live, every=4):
            live(place, Fate())
            there = client.list_multipart_uploads(Bucket="ours")["Uploads"]
            assert [one["UploadId"] for one in there] == [theirs], point
            assert sorted(path.name for path in place.iterdir() if "builds.db" not in path.name) == ["whole"], point
            database = Database(place / "builds.db")
            assert database.rows("SELECT * FROM ledger") == [], point
            database.close()


def test_artifacts_that_are_copied_out_leave_nothing_half_for_long_wherever_the_copying_is_killed(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "run").write_text("run")
    (source / "link").symlink_to("bin/run")
    tree = Beyond(Tree(source, "/src"), None, tmp_path)
    chosen = ArtifactPlan(files=("**/*",))
    selection: Selection = select(chosen, tree, lambda _: None, keep_links=True)
    half = 0
    for point, out in deaths(lambda point: fresh(tmp_path, point), lambda out, _: unpack_to(selection, out), least=5):
        half += any(path.name.startswith(".") for path in out.rglob("*"))
        with unfinished(out) as (_, mine):
            unpack_to(selection, out)
            assert mine.exists(), "of one who is alive nothing is removed"
        left = {str(path.relative_to(out)) for path in out.rglob("*")}
        assert left == {"bin", "bin/run", "link"}, point
        assert (out / "bin" / "run").read_text() == "run"
        assert (out / "link").readlink() == Path("bin/run")
    assert half > 2, "none was killed half-way"
