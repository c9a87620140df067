"""`reports`, and what `show` and `run` say of reports: what failed and why, in texts that steer no terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.cli.run import built
from agent.model.build import Build
from agent.model.report import CodeCoverage, CoverageSummary, ReportDetails, TestCase
from agent.model.request import BuildRequest
from agent.model.status import Status
from tests.fakes.control import FakeControl
from tests.unit.cli.test_commands import Capture, control, daemon
from tests.unit.cli.test_run import Order
from tests.unit.web.test_reports import a_report, cases

__all__ = ["control", "daemon"]


@pytest.fixture
def build(control: FakeControl) -> Build:
    """A build with a report of 150 cases, one of coverage, and one that has expired."""
    tests, coverage = a_report(1), a_report(2, "CODE_COVERAGE", "SUCCEEDED")
    summary = CoverageSummary(line_coverage_percentage=75, lines_covered=3, lines_missed=1)
    nasty = TestCase(name="evil\x1b[2J", status="ERROR", message="one\nt\x9bwo\u202e")
    control.reports.put(tests.evolve(truncated=True), ReportDetails(test_cases=(nasty, *cases())))
    file = CodeCoverage(file_path="a\x1b.py", line_coverage_percentage=75, lines_covered=3, lines_missed=1)
    control.reports.put(coverage.evolve(code_coverage_summary=summary), ReportDetails(code_coverages=(file,)))
    made = control.finish(control.start(BuildRequest(project="web", initiator="ada")).id, Status.SUCCEEDED)
    return control.store(made.evolve(report_arns=(tests.arn, coverage.arn, "gone")))


@pytest.mark.usefixtures("daemon")
def test_failed_tests_are_shown_with_their_messages_and_coverage_by_file(build: Build, capsys: Capture) -> None:
    assert main(["reports", build.uuid[:8]]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:7] == [
        "web-unit  FAILED  3 tests: 1 failed, 2 succeeded",
        "  ERROR  evil\\x1b[2J",
        "      one",
        "      t\\x9bwo\\u202e",
        "  FAILED  pkg.Class broken",
        "      no",
        "  the report was too long: it does not list every test case",
    ]
    assert lines[8:] == [
        "web-cov  SUCCEEDED  75.0% of lines covered",
        "COVERED  LINES  BRANCHES  FILE",
        "75.0%    3/4    0/0       a\\x1b.py",
        "",
    ]


@pytest.mark.usefixtures("daemon")
def test_json_has_every_case_of_every_page(build: Build, capsys: Capture) -> None:
    assert main(["reports", build.id, "--json"]) == 0
    tests, coverage = json.loads(capsys.readouterr().out)["reports"]
    assert (tests["status"], len(tests["testCases"])) == ("FAILED", 151)
    assert [file["linesMissed"] for file in coverage["codeCoverages"]] == [1]


@pytest.mark.usefixtures("daemon")
def test_show_has_a_line_for_each_report(build: Build, capsys: Capture) -> None:
    assert main(["show", build.id]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "report web-unit FAILED 3 tests: 1 failed, 2 succeeded" in shown
    assert "report web-cov SUCCEEDED 75.0% of lines covered" in shown


@pytest.mark.usefixtures("daemon")
def test_a_build_without_reports_says_so(control: FakeControl, capsys: Capture) -> None:
    build = control.start(BuildRequest(project="web", initiator="ada"))
    assert main(["reports", build.id]) == 0
    assert capsys.readouterr() == ("", "this build has no reports\n")
    assert main(["reports", build.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": []}


def test_a_local_build_tells_its_reports_in_the_summary(
    control: FakeControl, build: Build, tmp_path: Path, capsys: Capture
) -> None:
    def build_it(order: Order) -> Build:
        order.reported(a_report(1))  # type: ignore[operator]
        return build

    assert built(Order(tmp_path), True, build_it) == 0  # type: ignore[arg-type]
    output = capsys.readouterr()
    assert "web-unit  FAILED  3 tests: 1 failed, 2 succeeded" in output.err
    assert json.loads(output.out)["reportArns"] == list(build.report_arns)
