"""Pure parts of reporting: how phases end that went wrong twice, what is said of files, what is masked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.buildspec.plan import Plan, ReportPlan
from agent.container.driver import Expanded
from agent.errors import ArtifactsMissing, ReportInvalid, UserError
from agent.kit.tree import Tree
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.report import CodeCoverage, ReportDetails, TestCase, counted
from agent.model.status import Status
from agent.pipeline import resultfiles
from agent.pipeline.commands import report_expansions
from agent.pipeline.reporting import expanded_plan, masked
from agent.pipeline.resultfiles import ResultFiles, told
from agent.pipeline.route import together
from agent.reports.formats import format_named
from tests.unit.store.samples import NOON, a_build
from tests.unit.store.test_reports import a_report

GOOD = '<testsuite tests="1"><testcase name="a"/></testsuite>'
UPLOADS = Phase(phase_type=PhaseType.UPLOAD_ARTIFACTS, start_time=NOON)
RED, GREEN = PhaseContext(status_code="CLIENT_ERROR", message="red"), PhaseContext()


@pytest.mark.parametrize(
    ("kept", "last", "ended"),
    [
        (None, (Status.SUCCEEDED, GREEN), (Status.SUCCEEDED, GREEN)),
        (None, (Status.FAILED, RED), (Status.FAILED, RED)),
        ((Status.FAILED, RED), (Status.SUCCEEDED, GREEN), (Status.FAILED, RED)),
        (
            (Status.FAILED, RED),
            (Status.FAULT, PhaseContext(status_code="X", message="worse")),
            (Status.FAULT, PhaseContext(status_code="CLIENT_ERROR", message="red; worse")),
        ),
        ((Status.STOPPED, PhaseContext(message="stop")), (Status.STOPPED, PhaseContext(message="stop")), None),
        ((Status.STOPPED, GREEN), (Status.SUCCEEDED, GREEN), (Status.STOPPED, GREEN)),
    ],
)
def test_a_phase_that_goes_on_ends_with_all_that_went_wrong_in_it(
    kept: tuple[Status, PhaseContext] | None,
    last: tuple[Status, PhaseContext],
    ended: tuple[Status, PhaseContext] | None,
) -> None:
    phase = UPLOADS.troubled(*kept) if kept else UPLOADS
    assert phase.end_time is None
    assert together(phase, *last) == (ended or last)


def test_a_build_with_trouble_in_its_phase_is_told_as_before_until_the_phase_ends() -> None:
    build = a_build().left(NOON, Status.SUCCEEDED).entered(PhaseType.UPLOAD_ARTIFACTS, NOON)
    marred = build.troubled(Status.FAILED, RED)
    assert marred.phases[:-1] == build.phases[:-1]
    assert marred.left(NOON + 1, Status.FAILED, RED).phases[-1].contexts == (RED,)


def the_files(root: Path, **files: str) -> ResultFiles:
    for name, text in files.items():
        (root / f"{name}.xml").write_text(text)
    tree = Tree(root, "/src")
    entries = [(f"{name}.xml", tree, f"{name}.xml") for name in (*files, "gone")]
    return ResultFiles(format_named("junitxml"), entries, lambda: None)


def test_files_that_cannot_be_understood_cost_the_others_nothing(tmp_path: Path) -> None:
    files = the_files(tmp_path, torn="<", good=GOOD, other="<html/>")
    outcome = files.outcome()
    assert outcome
    assert outcome.test_summary
    assert outcome.test_summary.total == 1
    assert [error.message.split(":")[0].split()[0] for error in files.troubles] == ["torn.xml", "other.xml", "gone.xml"]
    assert the_files(tmp_path, torn="<").outcome() is None


def test_no_file_that_is_too_large_is_read_whole(tmp_path: Path) -> None:
    files = the_files(tmp_path, a=GOOD, b=GOOD)
    files._read = resultfiles.MOST_READ - len(GOOD)
    outcome = files.outcome()
    assert outcome
    assert outcome.test_summary
    assert outcome.test_summary.total == 1
    assert files.troubles[0].message == "b.xml: more than 64 MiB, or 256 MiB with those before"


def test_troubles_are_told_in_codebuilds_words_and_not_at_length() -> None:
    in_words = ReportInvalid("InvalidInputException: Test summary: status count cannot be negative")
    assert told([in_words]) == f"error processing report: [{in_words.message}]"
    assert told([ReportInvalid("a.xml: torn")]) == "error processing report: [InvalidInputException: a.xml: torn]"
    assert told([ArtifactsMissing("no matching report paths found")]) == "no matching report paths found"
    many: list[UserError] = [ReportInvalid("x" * 100_000) for _ in range(70)]
    assert told(many).endswith("], 65 more")
    assert len(told(many)) < 4000


def test_only_texts_with_variables_are_evaluated_by_the_build() -> None:
    report = ReportPlan(group="a-$B", files=("x", "$C/y"), base_directory="${D}", file_format="JUNITXML")
    plan = Plan(location="", phases=(), reports=(ReportPlan(group="plain", files=("x",)), report))
    names = [expansion.name for expansion in report_expansions(plan)]
    assert names == ["report 1 group", "report 1 base", "report 1 file 1"]
    found = {name: Expanded("ok", name.upper()) for name in names}
    expanded = expanded_plan(report, 1, found)
    assert (expanded.group, expanded.files) == ("REPORT 1 GROUP", ("x", "REPORT 1 FILE 1"))
    assert (expanded.base_directory, expanded.file_format) == ("REPORT 1 BASE", "JUNITXML")
    with pytest.raises(ReportInvalid, match="group: the variables in 'a-\\$B' cannot be evaluated"):
        expanded_plan(report, 1, {})


def test_what_is_stored_is_masked_and_can_be_stored() -> None:
    details = ReportDetails(
        test_cases=(TestCase(name="secret", status="FAILED", message="a secret \ud800", prefix=None),),
        code_coverages=(CodeCoverage(file_path="dir/secret.py"),),
    )

    def mask(text: str) -> str:
        return text.encode("utf-8", "replace").decode().replace("secret", "***")

    _, clean = masked((a_report(), details), mask)
    assert (clean.test_cases[0].name, clean.test_cases[0].message) == ("***", "a *** ?")
    assert clean.code_coverages[0].file_path == "dir/***.py"
    assert ReportDetails.model_validate_json(clean.model_dump_json()) == clean


def several() -> Iterator[tuple[dict[str, object], str]]:
    tests = {"total": 3, "statusCounts": {"SUCCEEDED": 2, "FAILED": 1, "SKIPPED": 0}}
    yield {"testSummary": tests}, "3 tests: 2 succeeded, 1 failed"
    yield {"testSummary": {"total": 1, "statusCounts": {}}}, "1 test"
    lines = {"lineCoveragePercentage": 66.6, "linesCovered": 2, "linesMissed": 1}
    yield {"codeCoverageSummary": lines}, "66.6% of lines covered"
    branches = {"branchCoveragePercentage": 50.0, "branchesCovered": 1, "branchesMissed": 1}
    yield {"codeCoverageSummary": {**lines, **branches}}, "66.6% of lines, 50.0% of branches covered"
    yield {"codeCoverageSummary": {"linesCovered": 0}}, "no lines"
    yield {}, ""


@pytest.mark.parametrize(("report", "words"), list(several()))
def test_a_report_is_told_in_a_few_words(report: dict[str, object], words: str) -> None:
    assert counted(report) == words
