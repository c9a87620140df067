"""CodeBuild's operations about reports, as plain functions on a Control (service.md 4.9, 5.2, 5.3)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from agent.errors import ReportUnknown, RequestInvalid
from agent.model.report import CodeCoverage, Report, ReportGroup, ReportStatus, TestCase, TestStatus
from agent.web.calls import Call, Operation, choice, number, paged, text, texts
from agent.web.pages import SIZE, page

_ORDERS = ("ASCENDING", "DESCENDING")
_STATUSES = get_args(ReportStatus)
_NO_EXPORT = {"exportConfigType": "NO_EXPORT"}


def batch_get_reports(call: Call) -> dict[str, Any]:
    """BatchGetReports: reports by ARN; unknown ones are listed, not refused."""
    found = {arn: call.control.report(arn) for arn in texts(call, "reportArns")}
    return {
        "reports": [report_json(report) for report in found.values() if report],
        "reportsNotFound": [arn for arn, report in found.items() if not report],
    }


def batch_get_report_groups(call: Call) -> dict[str, Any]:
    """BatchGetReportGroups: groups by ARN; unknown ones are listed, not refused."""
    groups = {group.arn: group for group in call.control.report_groups()}
    wanted = dict.fromkeys(texts(call, "reportGroupArns"))
    return {
        "reportGroups": [group_json(groups[arn]) for arn in wanted if arn in groups],
        "reportGroupsNotFound": [arn for arn in wanted if arn not in groups],
    }


def list_reports(call: Call) -> dict[str, Any]:
    """ListReports: ARNs of every group, newest first."""
    return _reports(call, None)


def list_reports_for_report_group(call: Call) -> dict[str, Any]:
    """ListReportsForReportGroup: ARNs of one group, newest first."""
    arn = text(call, "reportGroupArn") or ""
    if all(group.arn != arn for group in call.control.report_groups()):
        raise ReportUnknown(f"Report group {arn} does not exist", hint="a group goes with its last report")
    return _reports(call, arn)


def list_report_groups(call: Call) -> dict[str, Any]:
    """ListReportGroups: ARNs, by name."""
    by = choice(call, "sortBy", ("NAME", "CREATED_TIME", "LAST_MODIFIED_TIME"), "NAME")
    order = choice(call, "sortOrder", _ORDERS, "ASCENDING")
    groups = call.control.report_groups()
    if by != "NAME":
        groups = sorted(groups, key=lambda group: group.created if by == "CREATED_TIME" else group.last_modified)
    arns = [group.arn for group in groups]
    return _page(call, "reportGroups", arns[::-1] if order == "DESCENDING" else arns, f"groups {by} {order}")


def describe_test_cases(call: Call) -> dict[str, Any]:
    """DescribeTestCases: the cases of a report, those that failed first; *filter* is by status and keyword."""
    report = _report(call, ReportUnknown)
    wanted = _filter(call)
    status, keyword = _text_in(wanted, "status"), _text_in(wanted, "keyword")
    if status is not None and status not in get_args(TestStatus):
        raise RequestInvalid(f"Invalid status provided: {status!r} is none of {', '.join(get_args(TestStatus))}")
    cases = [
        case_json(case, report)
        for case in call.control.report_details(report.arn).test_cases
        if status in (None, case.status) and (not keyword or keyword in case.name or keyword in (case.prefix or ""))
    ]
    return _entries(call, "testCases", cases, f"cases {report.arn} {status} {keyword}")


def describe_code_coverages(call: Call) -> dict[str, Any]:
    """DescribeCodeCoverages: the files of a report, by path; those between two percentages of covered lines."""
    report = _report(call, RequestInvalid)
    by = choice(call, "sortBy", ("LINE_COVERAGE_PERCENTAGE", "FILE_PATH"), "FILE_PATH")
    order = choice(call, "sortOrder", _ORDERS, "ASCENDING")
    lowest = number(call, "minLineCoveragePercentage", 0, 100, 0)
    highest = number(call, "maxLineCoveragePercentage", 0, 100, 100)
    files = [
        file
        for file in sorted(call.control.report_details(report.arn).code_coverages, key=lambda file: file.file_path)
        if lowest <= file.line_coverage_percentage <= highest
    ]
    if by == "LINE_COVERAGE_PERCENTAGE":
        files.sort(key=lambda file: file.line_coverage_percentage)
    if order == "DESCENDING":
        files.reverse()
    entries = [coverage_json(file, report) for file in files]
    return _entries(call, "codeCoverages", entries, f"coverages {report.arn} {by} {order} {lowest} {highest}")


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as `BatchGetReports` shows it; raw files are never exported."""
    times = {"created": round(report.created, 3), "expired": round(report.expired, 3)}
    return {**report.wire(), **times, "exportConfig": _NO_EXPORT}


def group_json(group: ReportGroup) -> dict[str, Any]:
    """Return the group as `BatchGetReportGroups` shows it."""
    times = {"created": round(group.created, 3), "lastModified": round(group.last_modified, 3)}
    return {**group.wire(), **times, "exportConfig": _NO_EXPORT, "tags": [], "status": "ACTIVE"}


def case_json(case: TestCase, report: Report) -> dict[str, Any]:
    """Return a test case as `DescribeTestCases` shows it."""
    return {"reportArn": report.arn, **case.wire(), "expired": round(report.expired, 3)}


def coverage_json(file: CodeCoverage, report: Report) -> dict[str, Any]:
    """Return the coverage of a file as `DescribeCodeCoverages` shows it, with the API's own capitals."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{report.arn} {file.file_path}"))
    return {"id": identity, "reportARN": report.arn, **file.wire(), "expired": round(report.expired, 3)}


OPERATIONS: dict[str, Operation] = {
    "BatchGetReports": batch_get_reports,
    "BatchGetReportGroups": batch_get_report_groups,
    "ListReports": list_reports,
    "ListReportsForReportGroup": list_reports_for_report_group,
    "ListReportGroups": list_report_groups,
    "DescribeTestCases": describe_test_cases,
    "DescribeCodeCoverages": describe_code_coverages,
}
"""Operation -> function."""


def _reports(call: Call, group: str | None) -> dict[str, Any]:
    order = choice(call, "sortOrder", _ORDERS, "DESCENDING")
    status = _text_in(_filter(call), "status")
    if status is not None and status not in _STATUSES:
        raise RequestInvalid(f"Invalid status provided: {status!r} is none of {', '.join(_STATUSES)}")
    arns = call.control.report_arns(group=group, status=status)
    if order == "ASCENDING":
        arns = arns[::-1]
    return _page(call, "reports", arns, f"reports {group} {status} {order}")


def _report(call: Call, unknown: Callable[[str], Exception]) -> Report:
    arn = text(call, "reportArn") or ""
    report = call.control.report(arn)
    if report is None:
        raise unknown(f"Report {arn} does not exist")
    return report


def _page(call: Call, member: str, names: Sequence[str], query: str) -> dict[str, Any]:
    size = int(number(call, "maxResults", 1, SIZE, SIZE))
    return paged(member, *page(names, query, text(call, "nextToken"), size=size))


def _entries(call: Call, member: str, entries: Sequence[dict[str, Any]], query: str) -> dict[str, Any]:
    """Return one page of *entries*, whose places in the list are their names: a report does not change."""
    answer = _page(call, member, [str(place) for place in range(len(entries))], query)
    return {**answer, member: [entries[int(place)] for place in answer[member]]}


def _filter(call: Call) -> Mapping[str, Any]:
    given = call.members.get("filter")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise RequestInvalid("filter must be an object")
    return given


def _text_in(given: Mapping[str, Any], member: str) -> str | None:
    value = given.get(member)
    if value is not None and not isinstance(value, str):
        raise RequestInvalid(f"filter.{member} must be a string")
    return value or None
