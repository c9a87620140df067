"""The tables of reports: what comes back, in which order, and what goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.report import CodeCoverage, Report, ReportDetails, TestCase
from agent.store import reports as store
from agent.store.reports import Reports
from tests.unit.store.samples import NOON, a_database

DAY = 86400.0
ARN = "arn:aws:codebuild:us-west-2:123456789012:"


def a_report(number: int = 1, group: str = "web-unit", *, at: float = NOON, status: str = "SUCCEEDED") -> Report:
    """Return a report without numbers."""
    return Report.model_validate(
        {
            "arn": f"{ARN}report/{group}:{number:08d}-0000-4000-8000-000000000000",
            "type": "TEST",
            "name": group,
            "report_group_arn": f"{ARN}report-group/{group}",
            "execution_id": f"{ARN}build/web:1",
            "status": status,
            "created": at,
            "expired": at + 30 * DAY,
        }
    )


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(a_database(tmp_path))


def test_a_report_and_what_it_lists_come_back_as_they_were_stored(reports: Reports) -> None:
    details = ReportDetails(
        test_cases=(TestCase(name="übel \x1b", status="FAILED", message="no\nway" * 800),),
        code_coverages=(CodeCoverage(file_path="a.py", line_coverage_percentage=12.5),),
    )
    reports.put(a_report(), details)
    assert reports.get(a_report().arn) == a_report()
    assert reports.details(a_report().arn) == details
    assert (reports.get("other"), reports.details("other")) == (None, ReportDetails())


def test_a_report_that_is_stored_again_is_replaced_and_not_doubled(reports: Reports) -> None:
    reports.put(a_report(), ReportDetails(test_cases=(TestCase(name="a", status="FAILED"),)))
    reports.put(a_report(status="FAILED", at=NOON + 5), ReportDetails())
    assert reports.list() == [a_report().arn]
    assert reports.list(status="FAILED") == [a_report().arn]
    assert reports.details(a_report().arn) == ReportDetails()
    (group,) = reports.groups()
    assert (group.name, group.type, group.created, group.last_modified) == ("web-unit", "TEST", NOON, NOON + 5)


def test_reports_are_listed_newest_first_by_group_and_by_status(reports: Reports) -> None:
    first, second, other = a_report(1), a_report(2, at=NOON + 1, status="FAILED"), a_report(3, "web-e2e", at=NOON + 2)
    for report in (first, second, other):
        reports.put(report, ReportDetails())
    assert reports.list() == [other.arn, second.arn, first.arn]
    assert reports.list(group=first.report_group_arn) == [second.arn, first.arn]
    assert reports.list(group=first.report_group_arn, status="SUCCEEDED") == [first.arn]
    assert [group.name for group in reports.groups()] == ["web-e2e", "web-unit"]
    assert reports.group(other.report_group_arn) == reports.groups()[0]
    assert reports.group("other") is None


def test_what_has_expired_goes_with_its_details_and_its_empty_group(reports: Reports, tmp_path: Path) -> None:
    reports.put(a_report(1, "old"), ReportDetails())
    reports.put(a_report(2, "both"), ReportDetails())
    reports.put(a_report(3, "both", at=NOON + DAY), ReportDetails())
    assert reports.prune(NOON + 30 * DAY - 1) == 0
    assert reports.prune(NOON + 30 * DAY) == 2
    assert reports.list() == [a_report(3, "both").arn]
    assert [group.name for group in reports.groups()] == ["both"]
    database = reports._database
    assert database.row("SELECT count(*) FROM report_details") == (1,)


def test_a_new_report_drops_those_that_have_expired_meanwhile(reports: Reports) -> None:
    reports.put(a_report(1, "old"), ReportDetails())
    reports.put(a_report(2, at=NOON + 31 * DAY), ReportDetails())
    assert reports.list() == [a_report(2).arn]


def test_a_group_keeps_so_many_reports_and_no_more(reports: Reports) -> None:
    with reports._database.transaction():
        for number in range(store.MOST_OF_GROUP + 2):
            reports.put(a_report(number, at=NOON + number), ReportDetails())
    kept = reports.list()
    assert len(kept) == store.MOST_OF_GROUP
    assert kept[-1] == a_report(2).arn
