"""What `doctor` says of builds whose records cannot be read."""

from __future__ import annotations

from pathlib import Path

from agent.app.check import unreadable_builds
from agent.daemon.checks.host import records
from agent.store.builds import Builds
from tests.unit.store.samples import a_build, a_database


def test_doctor_names_the_builds_that_are_set_aside(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    Builds(database).add(a_build(1))
    file = tmp_path / "builds.db"
    assert [one.status for one in records(lambda: unreadable_builds(file))] == ["ok"]
    database.execute("UPDATE builds SET document = 'broken'")
    (check,) = records(lambda: unreadable_builds(file))
    assert check.status == "fail"
    assert a_build(1).id in check.message
    assert "backup" in check.remedy


def test_a_host_without_a_store_has_no_unreadable_builds(tmp_path: Path) -> None:
    assert unreadable_builds(tmp_path / "builds.db") == []
