"""Old builds are forgotten, unreadable ones set aside, and the file stays bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import BuildUnreadable
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.requests import Requests
from tests.unit.store.samples import NOON, a_build, a_database, a_project

DAY = 86400.0
NOW = NOON + 1000 * DAY


def ended(builds: Builds, number: int, *, days: float, status: Status = Status.FAILED, project: str = "web") -> str:
    """Store a build that was made *days* before NOW; return its id."""
    build = a_build(number, project=a_project(project), at=NOW - days * DAY)
    builds.add(build)
    builds.save(build.evolve(status=status))
    return build.id


def surplus(builds: Builds, *, age: float | None = None, count: int | None = None, least: int = 1) -> list[int]:
    before = None if age is None else NOW - age * DAY
    found = builds.surplus(before=before, count=count, least=least, spared=NOW - 14 * DAY)
    return [int(one.partition(":")[2][:8]) for one in found]


def test_old_builds_may_go_but_for_the_newest_and_the_last_green_one(tmp_path: Path) -> None:
    builds = Builds(a_database(tmp_path))
    for number, days, status in (
        (1, 900, Status.SUCCEEDED),
        (2, 800, Status.SUCCEEDED),
        (3, 700, Status.FAILED),
        (4, 600, Status.FAILED),
        (5, 500, Status.IN_PROGRESS),
        (6, 450, Status.FAILED),
    ):
        ended(builds, number, days=days, status=status)
    assert surplus(builds, age=400) == [1, 3, 4]
    assert surplus(builds, age=650) == [1, 3]
    assert surplus(builds, age=None) == []


def test_more_builds_than_are_kept_go_unless_they_are_young(tmp_path: Path) -> None:
    builds = Builds(a_database(tmp_path))
    for number in range(1, 11):
        ended(builds, number, days=25 - 2 * number)
    ended(builds, 1, days=20, project="other")
    assert surplus(builds, count=4) == [1, 2, 3, 4, 5]
    assert surplus(builds, count=8) == [1, 2]


def test_a_forgotten_build_leaves_its_number_and_no_request_that_would_find_nothing(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    builds, requests = Builds(database), Requests(database)
    assert builds.next_number("web") == 1
    gone = ended(builds, 1, days=900)
    requests.remember("git:web:refs/heads/main:-..aa", gone, "", NOW)
    builds.forget([gone])
    assert builds.get(gone) is None
    assert requests.find("git:web:refs/heads/main:-..aa") is None
    assert builds.next_number("web") == 2


def test_a_build_that_runs_is_never_forgotten(tmp_path: Path) -> None:
    builds = Builds(a_database(tmp_path))
    running = ended(builds, 1, days=900, status=Status.IN_PROGRESS)
    builds.forget([running])
    assert builds.get(running) is not None


def test_the_records_of_five_thousand_builds_do_not_stay_on_the_disk(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    builds = Builds(database)
    with database.transaction():
        for number in range(1, 5001):
            ended(builds, number, days=1000 - number / 6)
    database.compact()
    full = (tmp_path / "builds.db").stat().st_size
    while gone := builds.surplus(before=None, count=100, least=20, spared=NOW):
        builds.forget(gone)
        database.compact(pages=100_000)
    assert len(builds.list(limit=10_000)) == 100
    database.compact(pages=100_000)
    assert (tmp_path / "builds.db").stat().st_size < full / 20
    assert (tmp_path / "builds.db-wal").stat().st_size <= 17 << 20


def test_a_small_file_of_an_older_version_comes_to_shrink_as_well(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    database.execute("PRAGMA auto_vacuum = NONE")
    database.execute("VACUUM")
    database.close()
    database = Database(tmp_path / "builds.db")
    assert database.row("PRAGMA auto_vacuum") == (0,) or database.row("PRAGMA auto_vacuum") == (2,)
    database.compact()
    assert database.row("PRAGMA auto_vacuum") == (2,)


def damage(database: Database, build: str) -> None:
    database.execute("UPDATE builds SET document = '{\"id\": 1' WHERE id = ?", build)


def test_one_unreadable_record_takes_no_other_build_with_it(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    builds = Builds(database)
    for number in (1, 2):
        builds.add(a_build(number))
    damage(database, a_build(1).id)
    assert [build.number for build in builds.open()] == [2]
    assert [build.number for build in builds.list()] == [2]
    assert builds.open_ids() == {a_build(1).id, a_build(2).id}
    assert builds.unreadable() == [a_build(1).id]
    with pytest.raises(BuildUnreadable, match="the record of build web:00000001"):
        builds.get(a_build(1).id)


def test_a_store_that_is_only_read_is_not_changed(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    Builds(database).add(a_build(1))
    before = (tmp_path / "builds.db").stat().st_mtime_ns
    assert Builds(Database(tmp_path / "builds.db", read_only=True)).unreadable() == []
    assert (tmp_path / "builds.db").stat().st_mtime_ns == before
