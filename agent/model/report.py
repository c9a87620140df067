"""Report: what the result files of a build say, in the members of CodeBuild's own `Report` (buildspec.md 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from agent.model.shape import Shape

TestStatus = Literal["SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN"]
ReportType = Literal["TEST", "CODE_COVERAGE"]
ReportStatus = Literal["GENERATING", "SUCCEEDED", "FAILED", "INCOMPLETE", "DELETING"]


class TestCase(Shape):
    """CodeBuild's `TestCase`. `test_raw_data_path` is the file it came from, relative to the base directory."""

    __test__ = False  # no test of ours, for all that it is called

    name: str
    prefix: str | None = None
    test_suite_name: str | None = None
    status: TestStatus
    duration_in_nano_seconds: int = 0
    message: str | None = None
    test_raw_data_path: str | None = None


class CoverageSummary(Shape):
    """CodeBuild's `CodeCoverageReportSummary`. Percentages from 0 to 100, covered / total."""

    line_coverage_percentage: float = 0.0
    lines_covered: int = 0
    lines_missed: int = 0
    branch_coverage_percentage: float = 0.0
    branches_covered: int = 0
    branches_missed: int = 0


class CodeCoverage(CoverageSummary):
    """CodeBuild's `CodeCoverage`: the same of one source file."""

    file_path: str


class TestSummary(Shape):
    """CodeBuild's `TestReportSummary`; `total` and `status_counts` count truncated cases too."""

    __test__ = False

    total: int
    status_counts: dict[str, int]
    duration_in_nano_seconds: int


class Report(Shape):
    """CodeBuild's `Report`. Times in epoch seconds; `execution_id` is the build's ARN, `name` the group's name."""

    arn: str
    type: ReportType
    name: str
    report_group_arn: str
    execution_id: str
    status: ReportStatus
    created: float
    expired: float
    truncated: bool = False
    test_summary: TestSummary | None = None
    code_coverage_summary: CoverageSummary | None = None


class ReportGroup(Shape):
    """CodeBuild's `ReportGroup`, made when a build first reports to it. Times in epoch seconds."""

    arn: str
    name: str
    type: ReportType
    created: float
    last_modified: float


class ReportDetails(Shape):
    """What a report lists: test cases (at most 500, the failed ones first) or source files."""

    test_cases: tuple[TestCase, ...] = ()
    code_coverages: tuple[CodeCoverage, ...] = Field(default=())


def counted(report: Mapping[str, Any]) -> str:
    """Return in a few words what a report, given as the API shows it, counts or covers; "" if nothing. Pure."""
    if tests := report.get("testSummary"):
        kinds = ", ".join(f"{count} {kind.lower()}" for kind, count in tests["statusCounts"].items() if count)
        return f"{tests['total']} {'test' if tests['total'] == 1 else 'tests'}{': ' if kinds else ''}{kinds}"
    if coverage := report.get("codeCoverageSummary"):
        lines, branches = (_share(coverage, kind) for kind in ("line", "branch"))
        return f"{lines} of lines{f', {branches} of branches' if branches else ''} covered" if lines else "no lines"
    return ""


def _share(coverage: Mapping[str, Any], kind: str) -> str:
    several = "lines" if kind == "line" else "branches"
    total = coverage.get(f"{several}Covered", 0) + coverage.get(f"{several}Missed", 0)
    return f"{coverage.get(f'{kind}CoveragePercentage', 0.0):.1f}%" if total else ""
