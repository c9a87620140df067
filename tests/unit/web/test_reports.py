"""The operations about reports as AWS's own client sees them, and every answer held against botocore's model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape

from agent.errors import ReportUnknown, RequestInvalid
from agent.model.report import CodeCoverage, CoverageSummary, Report, ReportDetails, TestCase, TestSummary
from agent.web.codebuild import call, error_json
from tests.fakes.control import EPOCH, FakeControl, a_project, fake_arn
from tests.unit.web.test_codebuild import codebuild

__all__ = ["codebuild"]

MODEL = botocore.session.get_session().get_service_model("codebuild")
GROUPS = {"TEST": fake_arn("report-group/web-unit"), "CODE_COVERAGE": fake_arn("report-group/web-cov")}


def a_report(number: int, kind: str = "TEST", status: str = "FAILED") -> Report:
    """Return a report with numbers."""
    tests = TestSummary(total=3, status_counts={"FAILED": 1, "SUCCEEDED": 2}, duration_in_nano_seconds=7)
    coverage = CoverageSummary(line_coverage_percentage=50, lines_covered=1, lines_missed=1)
    return Report.model_validate(
        {
            "arn": f"{GROUPS[kind].replace('report-group', 'report')}:{number}",
            "type": kind,
            "name": GROUPS[kind].rpartition("/")[2],
            "report_group_arn": GROUPS[kind],
            "execution_id": fake_arn("build/web:1"),
            "status": status,
            "created": EPOCH + number,
            "expired": EPOCH + number + 30 * 86400,
            "test_summary": tests if kind == "TEST" else None,
            "code_coverage_summary": coverage if kind == "CODE_COVERAGE" else None,
        }
    )


def cases() -> Iterator[TestCase]:
    yield TestCase(name="broken", prefix="pkg.Class", test_suite_name="s", status="FAILED", message="no")
    for number in range(149):
        yield TestCase(name=f"case {number}", status="SUCCEEDED", duration_in_nano_seconds=number)


@pytest.fixture
def control(tmp_path: Path) -> FakeControl:
    control = FakeControl(tmp_path, [a_project()])
    for number in range(1, 103):
        control.reports.put(a_report(number, status="SUCCEEDED" if number % 2 else "FAILED"), ReportDetails())
    control.reports.put(a_report(103), ReportDetails(test_cases=tuple(cases())))
    files = [CodeCoverage(file_path=path, line_coverage_percentage=share) for path, share in (("b", 10), ("a", 90.5))]
    control.reports.put(a_report(104, "CODE_COVERAGE", "SUCCEEDED"), ReportDetails(code_coverages=tuple(files)))
    return control


def asked(control: FakeControl, operation: str, **members: Any) -> dict[str, Any]:
    """Return the answer of an operation, which has every member and type that the model knows, and no other."""
    answer = call(control, f"CodeBuild_20161006.{operation}", json.dumps(members).encode(), "ada", fake_arn)
    hold(answer, MODEL.operation_model(operation).output_shape, operation)
    return answer


def hold(value: Any, shape: Any, place: str) -> None:
    """Fail where *value* is not what *shape* says."""
    assert isinstance(shape, Shape)
    kinds: dict[str, Any] = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool}
    assert isinstance(value, kinds.get(shape.type_name, (int, float))), place
    if enum := shape.metadata.get("enum"):
        assert value in enum, place
    if shape.type_name == "structure":
        known: Any = shape
        assert set(value) <= set(known.members), place
        assert set(known.required_members) <= set(value), place
        for name, member in value.items():
            hold(member, known.members[name], f"{place}.{name}")
    for entry in value if shape.type_name == "list" else ():
        hold(entry, shape.member, place)  # type: ignore[attr-defined]


def test_reports_are_found_by_arn_and_the_unknown_are_listed(control: FakeControl, codebuild: Any) -> None:
    wanted = [a_report(103).arn, "nope", a_report(104, "CODE_COVERAGE").arn]
    answer = codebuild.batch_get_reports(reportArns=wanted)
    tests, coverage = answer["reports"]
    assert answer["reportsNotFound"] == ["nope"]
    assert tests["testSummary"] == {
        "total": 3,
        "statusCounts": {"FAILED": 1, "SUCCEEDED": 2},
        "durationInNanoSeconds": 7,
    }
    assert (tests["created"].timestamp(), tests["truncated"]) == (EPOCH + 103, False)
    assert tests["exportConfig"] == {"exportConfigType": "NO_EXPORT"}
    assert coverage["codeCoverageSummary"]["lineCoveragePercentage"] == 50
    assert "testSummary" not in coverage
    asked(control, "BatchGetReports", reportArns=wanted)


def test_reports_are_listed_newest_first_in_pages_and_by_status(control: FakeControl, codebuild: Any) -> None:
    pages = list(codebuild.get_paginator("list_reports").paginate())
    assert [len(page["reports"]) for page in pages] == [100, 4]
    assert pages[0]["reports"][:2] == [a_report(104, "CODE_COVERAGE").arn, a_report(103).arn]
    assert codebuild.list_reports(sortOrder="ASCENDING", maxResults=1)["reports"] == [a_report(1).arn]
    failed = codebuild.list_reports(filter={"status": "FAILED"})["reports"]
    assert (len(failed), failed[0]) == (52, a_report(103).arn)
    asked(control, "ListReports")


def test_reports_of_a_group_and_groups_are_listed(control: FakeControl, codebuild: Any) -> None:
    coverage = GROUPS["CODE_COVERAGE"]
    assert codebuild.list_reports_for_report_group(reportGroupArn=coverage)["reports"] == [
        a_report(104, "CODE_COVERAGE").arn
    ]
    with pytest.raises(codebuild.exceptions.ResourceNotFoundException, match="nope does not exist"):
        codebuild.list_reports_for_report_group(reportGroupArn="nope")
    assert codebuild.list_report_groups()["reportGroups"] == sorted(GROUPS.values())
    newest = codebuild.list_report_groups(sortBy="LAST_MODIFIED_TIME", sortOrder="DESCENDING", maxResults=1)
    assert newest["reportGroups"] == [coverage]
    answer = asked(control, "BatchGetReportGroups", reportGroupArns=[coverage, "nope"])
    (group,) = answer["reportGroups"]
    assert (group["name"], group["type"], group["status"]) == ("web-cov", "CODE_COVERAGE", "ACTIVE")
    assert answer["reportGroupsNotFound"] == ["nope"]


def test_test_cases_come_in_pages_and_by_status_and_keyword(control: FakeControl, codebuild: Any) -> None:
    arn = a_report(103).arn
    pages = list(codebuild.get_paginator("describe_test_cases").paginate(reportArn=arn))
    assert [len(page["testCases"]) for page in pages] == [100, 50]
    (failed,) = codebuild.describe_test_cases(reportArn=arn, filter={"status": "FAILED"})["testCases"]
    assert (failed["name"], failed["message"], failed["reportArn"]) == ("broken", "no", arn)
    for keyword, count in (("Class", 1), ("case 14", 10), ("nothing", 0)):
        answer = asked(control, "DescribeTestCases", reportArn=arn, filter={"keyword": keyword})
        assert len(answer["testCases"]) == count
    small = asked(control, "DescribeTestCases", reportArn=arn, maxResults=7)
    following = asked(control, "DescribeTestCases", reportArn=arn, maxResults=7, nextToken=small["nextToken"])
    assert [case["name"] for case in following["testCases"]][:1] == ["case 6"]
    with pytest.raises(ReportUnknown):
        asked(control, "DescribeTestCases", reportArn="nope")


def test_coverages_are_sorted_and_cut_by_percentage(control: FakeControl) -> None:
    arn = a_report(104, "CODE_COVERAGE").arn

    def files(**members: Any) -> list[str]:
        answer = asked(control, "DescribeCodeCoverages", reportArn=arn, **members)
        assert all(file["reportARN"] == arn and file["id"] for file in answer["codeCoverages"])
        return [file["filePath"] for file in answer["codeCoverages"]]

    assert files() == ["a", "b"]
    assert files(sortOrder="DESCENDING") == ["b", "a"]
    assert files(sortBy="LINE_COVERAGE_PERCENTAGE") == ["b", "a"]
    assert files(minLineCoveragePercentage=50) == ["a"]
    assert files(maxLineCoveragePercentage=10) == ["b"]
    with pytest.raises(RequestInvalid):
        files(minLineCoveragePercentage=101)
    with pytest.raises(RequestInvalid):
        asked(control, "DescribeCodeCoverages", reportArn="nope")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("ListReports", {"maxResults": 0}),
        ("ListReports", {"maxResults": True}),
        ("ListReports", {"filter": []}),
        ("ListReports", {"filter": {"status": "GREEN"}}),
        ("ListReports", {"nextToken": "x"}),
        ("ListReportGroups", {"sortBy": "AGE"}),
        ("BatchGetReports", {}),
        ("BatchGetReports", {"reportArns": []}),
        ("DescribeTestCases", {"reportArn": 7}),
        ("DescribeTestCases", {"reportArn": a_report(103).arn, "filter": {"status": "GREEN"}}),
        ("DescribeTestCases", {"reportArn": a_report(103).arn, "filter": {"keyword": 7}}),
    ],
)
def test_what_makes_no_sense_is_an_invalid_input(control: FakeControl, operation: str, members: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid) as raised:
        asked(control, operation, **members)
    assert error_json(raised.value)[1]["__type"] == "InvalidInputException"


def test_a_build_shows_the_arns_of_its_reports(control: FakeControl) -> None:
    from agent.model.request import BuildRequest

    build = control.start(BuildRequest(project="web", initiator="ada"))
    control.store(build.evolve(report_arns=("arn:1",)))
    assert asked_build(control, build.id)["reportArns"] == ["arn:1"]


def asked_build(control: FakeControl, build: str) -> dict[str, Any]:
    """Return one build as BatchGetBuilds shows it."""
    body = json.dumps({"ids": [build]}).encode()
    found: dict[str, Any] = call(control, "CodeBuild_20161006.BatchGetBuilds", body, "ada", fake_arn)["builds"][0]
    return found
