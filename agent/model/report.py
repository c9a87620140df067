"""Report: what the result files of a build say, in the members of CodeBuild's own `Report` (buildspec.md 12)."""

from __future__ import annotations

from typing import Literal

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


class CodeCoverage(Shape):
    """CodeBuild's `CodeCoverage`: one source file. Percentages from 0 to 100, covered / total."""

    file_path: str
    line_coverage_percentage: float = 0.0
    lines_covered: int = 0
    lines_missed: int = 0
    branch_coverage_percentage: float = 0.0
    branches_covered: int = 0
    branches_missed: int = 0


class TestSummary(Shape):
    """CodeBuild's `TestReportSummary`; `total` and `status_counts` count truncated cases too."""

    __test__ = False

    total: int
    status_counts: dict[str, int]
    duration_in_nano_seconds: int


class CoverageSummary(Shape):
    """CodeBuild's `CodeCoverageReportSummary`."""

    line_coverage_percentage: float = 0.0
    lines_covered: int = 0
    lines_missed: int = 0
    branch_coverage_percentage: float = 0.0
    branches_covered: int = 0
    branches_missed: int = 0


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


class ReportDetails(Shape):
    """What a report lists: test cases (at most 500, the failed ones first) or source files."""

    test_cases: tuple[TestCase, ...] = ()
    code_coverages: tuple[CodeCoverage, ...] = Field(default=())
