"""The table of builds: numbers, names that people type, order."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.build import Build
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from tests.unit.store.samples import NOON, a_build, a_database, a_project


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


@pytest.fixture
def builds(database: Database) -> Builds:
    return Builds(database)


def stored(builds: Builds, *several: Build) -> None:
    for build in several:
        builds.add(build)


def count_and_fail(database: Database, builds: Builds) -> None:
    with database.transaction():
        builds.next_number("web")
        raise KeyError


def test_a_build_comes_back_as_it_was_stored(builds: Builds) -> None:
    build = a_build(source_ref="refs/heads/main", advice="free some disk space")
    builds.add(build)
    assert builds.get(build.id) == build


def test_a_change_replaces_what_was_stored(builds: Builds) -> None:
    build = a_build()
    builds.add(build)
    changed = build.evolve(status=Status.FAILED, end_time=NOON + 5)
    builds.save(changed)
    assert builds.get(build.id) == changed
    assert builds.list(status="FAILED") == [changed]


def test_saving_a_build_that_was_never_added_adds_nothing(builds: Builds) -> None:
    builds.save(a_build())
    assert builds.list() == []


def test_two_builds_cannot_have_the_same_number(builds: Builds) -> None:
    builds.add(a_build(1))
    with pytest.raises(Exception, match="UNIQUE"):
        builds.add(a_build(1).evolve(id="web:other"))


def test_numbers_count_up_in_each_project_from_one(database: Database, builds: Builds) -> None:
    with database.transaction():
        assert [builds.next_number(name) for name in ("web", "web", "api", "web")] == [1, 2, 1, 3]


def test_a_number_of_a_transaction_that_failed_is_given_again(database: Database, builds: Builds) -> None:
    with pytest.raises(KeyError):
        count_and_fail(database, builds)
    assert builds.next_number("web") == 1


def test_builds_are_listed_newest_first(builds: Builds) -> None:
    older, newer = a_build(2, at=NOON), a_build(1, at=NOON + 1)
    stored(builds, older, newer)
    assert builds.list() == [newer, older]


def test_of_two_builds_of_the_same_moment_the_higher_number_is_newer(builds: Builds) -> None:
    stored(builds, a_build(1), a_build(2))
    assert [build.number for build in builds.list()] == [2, 1]


def test_a_list_can_be_of_one_project_one_status_and_of_a_length(builds: Builds) -> None:
    other = a_project("api")
    stored(
        builds,
        *(a_build(number, at=NOON + number) for number in (1, 2, 3)),
        a_build(1, project=other, status=Status.FAULT),
    )
    assert [build.number for build in builds.list(project="web", limit=2)] == [3, 2]
    assert [build.project.name for build in builds.list(status="FAULT")] == ["api"]
    assert builds.list(project="web", status="FAULT") == []


def test_open_builds_are_those_that_have_not_ended_oldest_first(builds: Builds) -> None:
    stored(
        builds,
        a_build(3, at=NOON + 3),
        a_build(1, at=NOON + 1),
        a_build(2, at=NOON + 2, status=Status.STOPPED),
    )
    assert [build.number for build in builds.open()] == [1, 3]


def test_the_last_build_of_a_project_is_its_newest(builds: Builds) -> None:
    assert builds.last_of("web") is None
    stored(builds, a_build(1, at=NOON), a_build(2, at=NOON + 1), a_build(1, project=a_project("api"), at=NOON + 9))
    last = builds.last_of("web")
    assert last is not None
    assert last.number == 2


@pytest.mark.parametrize(
    "name",
    [
        "web:00000001-0000-4000-8000-000000000000",
        "arn:aws:codebuild:us-west-2:123456789012:build/web:00000001-0000-4000-8000-000000000000",
        "00000001-0000-4000-8000-000000000000",
        "00000001",
        "00000001-00",
        "web:00000001",
        "web#1",
    ],
)
def test_a_build_is_found_by_every_name_that_people_give_it(builds: Builds, name: str) -> None:
    stored(builds, a_build(1), a_build(2))
    assert [build.number for build in builds.matching(name)] == [1]


@pytest.mark.parametrize(
    "name", ["", "0", "000", "%%%%", "____", "0000000_", "web", "web#2x", "web#", "#1", "api#1", "nobody"]
)
def test_what_names_no_build_finds_none(builds: Builds, name: str) -> None:
    stored(builds, a_build(1), a_build(2))
    assert builds.matching(name) == []


def test_a_beginning_that_several_builds_share_finds_them_all(builds: Builds) -> None:
    stored(builds, a_build(1), a_build(2))
    assert len(builds.matching("0000000")) == 2


def test_the_project_before_a_beginning_counts(builds: Builds) -> None:
    stored(builds, a_build(1), a_build(1, project=a_project("api")))
    assert [build.project.name for build in builds.matching("api:00000001")] == ["api"]
