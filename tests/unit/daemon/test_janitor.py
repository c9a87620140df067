"""The janitor drops what has expired."""

from __future__ import annotations

from pathlib import Path

from agent.daemon.janitor import Janitor
from agent.errors import ImageUnavailable
from agent.model.report import ReportDetails
from agent.store.reports import Reports
from tests.fakes.engine import FakeEngine
from tests.unit.store.samples import NOON, ManualClock, a_database
from tests.unit.store.test_reports import DAY, a_report


def test_reports_that_have_expired_go_with_the_next_sweep(tmp_path: Path) -> None:
    database, clock = a_database(tmp_path), ManualClock()
    janitor = Janitor("agent", database, FakeEngine(), tmp_path, tmp_path, lambda _: None, clock)
    reports = Reports(database)
    reports.put(a_report(), ReportDetails())
    janitor.sweep()
    assert reports.list() == [a_report().arn]
    clock.at = NOON + 30 * DAY
    janitor.sweep()
    assert (reports.list(), reports.groups()) == ([], [])


def test_a_tree_whose_image_is_gone_stays_and_holds_up_no_other(tmp_path: Path) -> None:
    builds, removed = tmp_path / "builds", list[Path]()
    for name in ("one", "two"):
        (builds / name / "workspace").mkdir(parents=True)

    def reclaim(path: Path) -> None:
        if path.parent.name == "one":
            raise ImageUnavailable("no such image")
        removed.append(path)

    janitor = Janitor("agent", a_database(tmp_path), FakeEngine(), builds, tmp_path / "secrets", reclaim, ManualClock())
    janitor.sweep()
    assert removed == [builds / "two" / "workspace"]
