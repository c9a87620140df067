"""Several result files become one report."""

from __future__ import annotations

import pytest

from agent.model.report import CodeCoverage, TestCase, TestStatus
from agent.reports.formats import FORMATS, Results
from agent.reports.summary import MOST_COVERAGES, Outcome, summarise
from tests.unit.reports.samples import parsed

JUNIT = FORMATS["JUNITXML"]
COBERTURA = FORMATS["COBERTURAXML"]


def junit(*outcomes: str, path: str = "r.xml") -> Results:
    inside = {"ok": "", "failed": "<failure>no</failure>", "error": "<error/>", "skipped": "<skipped/>"}
    cases = "".join(f'<testcase name="{at}">{inside[how]}</testcase>' for at, how in enumerate(outcomes))
    return parsed("JUNITXML", f'<testsuite tests="{len(outcomes)}">{cases}</testsuite>', path)


def report_of(*results: Results) -> Outcome:
    return summarise(JUNIT, iter(results))


def test_case_79_of_600_cases_the_500_kept_have_all_that_failed() -> None:
    outcomes = ["failed" if at % 60 == 59 else "ok" for at in range(600)]
    outcome = report_of(junit(*outcomes))
    cases = outcome.details.test_cases
    assert len(cases) == 500
    assert [case.status for case in cases[:10]] == ["FAILED"] * 10
    assert {case.status for case in cases[10:]} == {"SUCCEEDED"}
    assert outcome.truncated
    assert outcome.test_summary is not None
    assert outcome.test_summary.total == 600
    assert outcome.test_summary.status_counts["SUCCEEDED"] == 590


def test_failed_cases_come_first_and_each_kind_stays_in_order() -> None:
    outcome = report_of(junit("ok", "failed", "skipped", "error", "ok"), junit("error", "ok"))
    assert [case.name for case in outcome.details.test_cases] == ["1", "3", "0", "0", "2", "4", "1"]
    assert not outcome.truncated


def test_cases_of_many_files_are_kept_within_one_bound() -> None:
    outcome = report_of(*(junit(*["ok"] * 90, "failed") for _ in range(7)))
    assert len(outcome.details.test_cases) == 500
    assert [case.status for case in outcome.details.test_cases].count("FAILED") == 7
    assert outcome.truncated
    assert outcome.test_summary is not None
    assert outcome.test_summary.total == 637


def test_more_failures_than_a_report_holds_are_all_counted() -> None:
    outcome = report_of(junit(*["failed"] * 700), junit(*["failed"] * 20))
    assert {case.status for case in outcome.details.test_cases} == {"FAILED"}
    assert outcome.truncated
    assert outcome.test_summary is not None
    assert outcome.test_summary.status_counts["FAILED"] == 720


def test_exactly_500_cases_are_not_truncated() -> None:
    outcome = report_of(junit(*["ok"] * 250, *["failed"] * 250))
    assert (len(outcome.details.test_cases), outcome.truncated) == (500, False)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "SUCCEEDED"),
        (["ok"], "SUCCEEDED"),
        (["ok", "skipped"], "SUCCEEDED"),
        (["ok", "failed"], "FAILED"),
        (["error"], "FAILED"),
    ],
)
def test_a_report_has_succeeded_if_no_case_is_to_blame(outcomes: list[str], status: str) -> None:
    assert report_of(junit(*outcomes)).status == status


def test_a_case_of_unknown_outcome_has_not_succeeded() -> None:
    unknown: TestStatus = "UNKNOWN"
    assert report_of(Results(cases=(TestCase(name="a", status=unknown),))).status == "FAILED"


def test_a_suite_that_says_it_failed_is_believed_without_its_case() -> None:
    assert report_of(parsed("JUNITXML", '<testsuite tests="1" failures="1"/>')).status == "FAILED"


def test_a_case_that_failed_is_believed_whatever_its_suite_says() -> None:
    text = '<testsuite tests="1" failures="0"><testcase name="a"><failure/></testcase></testsuite>'
    assert report_of(parsed("JUNITXML", text)).status == "FAILED"


def test_results_without_counts_are_counted_by_their_cases() -> None:
    cases = tuple(TestCase(name=str(at), status="SUCCEEDED", duration_in_nano_seconds=5) for at in range(3))
    summary = report_of(Results(cases=cases)).test_summary
    assert summary is not None
    assert (summary.total, summary.duration_in_nano_seconds) == (3, 15)


def test_all_statuses_are_counted_even_those_that_did_not_occur() -> None:
    summary = report_of(junit()).test_summary
    assert summary is not None
    assert summary.status_counts == dict.fromkeys(("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN"), 0)


def test_names_and_messages_are_cut_to_what_a_report_holds() -> None:
    inside = f'<testcase name="{"n" * 3000}" classname="{"c" * 3000}"><failure>{"m" * 9000}</failure></testcase>'
    case = parsed("JUNITXML", f'<testsuite name="{"s" * 3000}">{inside}</testsuite>').cases[0]
    assert (len(case.name), len(case.prefix or ""), len(case.test_suite_name or "")) == (1000, 1000, 1000)
    assert len(case.message or "") == 5000


def cobertura(lines: dict[int, int], file: str = "a.py", conditions: str = "") -> Results:
    told = "".join(f'<line number="{number}" hits="{hits}"/>' for number, hits in lines.items())
    return parsed(
        "COBERTURAXML", f'<coverage><class filename="{file}"><lines>{told}{conditions}</lines></class></coverage>'
    )


def test_a_file_covered_by_two_runs_is_merged_line_by_line() -> None:
    both = summarise(COBERTURA, [cobertura({1: 1, 2: 0, 3: 0}), cobertura({1: 0, 2: 5, 3: 0}), cobertura({4: 1})])
    (file,) = both.details.code_coverages
    assert (file.lines_covered, file.lines_missed, file.line_coverage_percentage) == (3, 1, 75.0)


def test_of_a_line_with_branches_the_run_counts_that_took_most() -> None:
    half = '<line number="7" hits="1" condition-coverage="50% (1/2)"/>'
    third = '<line number="7" hits="1" condition-coverage="66% (2/3)"/>'
    outcome = summarise(COBERTURA, [cobertura({}, conditions=half), cobertura({}, conditions=third)])
    (file,) = outcome.details.code_coverages
    assert (file.branches_covered, file.branches_missed, file.branch_coverage_percentage) == (2, 1, 66.66)


def test_a_file_without_lines_to_compare_is_taken_from_the_better_run() -> None:
    runs = [CodeCoverage(file_path="a", lines_covered=covered, lines_missed=10 - covered) for covered in (3, 7, 5)]
    outcome = summarise(FORMATS["CLOVERXML"], [Results(coverages=(run,)) for run in runs])
    assert [file.lines_covered for file in outcome.details.code_coverages] == [7]


def test_a_coverage_report_lists_a_bounded_number_of_files_and_counts_all() -> None:
    files = "".join(
        f'<class filename="{at}"><lines><line number="1" hits="1"/></lines></class>' for at in range(MOST_COVERAGES + 5)
    )
    outcome = summarise(COBERTURA, [parsed("COBERTURAXML", f"<coverage>{files}</coverage>")])
    assert len(outcome.details.code_coverages) == MOST_COVERAGES
    assert outcome.truncated
    assert outcome.code_coverage_summary is not None
    assert outcome.code_coverage_summary.lines_covered == MOST_COVERAGES + 5


def test_a_report_of_no_files_covers_nothing() -> None:
    summary = summarise(COBERTURA, []).code_coverage_summary
    assert summary is not None
    assert (summary.lines_covered, summary.line_coverage_percentage) == (0, 0.0)
