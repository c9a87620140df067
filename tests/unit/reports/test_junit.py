"""JUnit: whose numbers count, and what a case becomes."""

from __future__ import annotations

import pytest

from agent.errors import ReportInvalid
from agent.reports.results import Counts
from tests.unit.reports.samples import parsed


def counts(text: str) -> Counts:
    found = parsed("JUNITXML", text).counts
    assert found is not None
    return found


def numbers(text: str) -> tuple[int, ...]:
    found = counts(text)
    return (found.total, *(found.by_status[status] for status in ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED")))


def test_case_80_more_failures_than_tests_are_refused() -> None:
    with pytest.raises(ReportInvalid) as caught:
        parsed("JUNITXML", '<testsuite name="s" tests="1" failures="2"/>')
    assert caught.value.message == "InvalidInputException: Test summary: status count cannot be negative"
    assert caught.value.code == "CLIENT_ERROR"
    assert 'r.xml: the suite "s" says tests="1" failures="2"' in caught.value.hint


@pytest.mark.parametrize("attributes", ['tests="-1"', 'tests="3" errors="-1"', 'tests="3" errors="2" skipped="2"'])
def test_numbers_that_contradict_each_other_are_refused(attributes: str) -> None:
    with pytest.raises(ReportInvalid, match="status count cannot be negative"):
        parsed("JUNITXML", f"<testsuites><testsuite {attributes}/></testsuites>")


def test_the_numbers_of_the_suites_count_not_the_cases() -> None:
    assert numbers('<testsuite tests="9" failures="2" errors="1" skipped="1"><testcase name="a"/></testsuite>') == (
        9,
        5,
        2,
        1,
        1,
    )


def test_a_suite_that_says_nothing_of_itself_is_counted() -> None:
    cases = '<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><skipped/></testcase>'
    assert numbers(f"<testsuite>{cases}</testsuite>") == (3, 1, 1, 0, 1)
    assert numbers(f'<testsuite tests="">{cases}</testsuite>') == (3, 1, 1, 0, 1)


def test_a_number_that_a_suite_leaves_out_is_counted() -> None:
    cases = '<testcase name="a"><skipped/></testcase><testcase name="b"><error/></testcase>'
    assert numbers(f'<testsuite tests="2" failures="0">{cases}</testsuite>') == (2, 0, 0, 1, 1)
    assert numbers(f'<testsuite tests="0">{cases}</testsuite>') == (0, 0, 0, 0, 0)


def test_tests_that_googletest_has_disabled_were_skipped() -> None:
    text = '<testsuite tests="3" failures="1" disabled="1" errors="0"><testcase name="a" status="notrun"/></testsuite>'
    assert numbers(text) == (3, 1, 1, 0, 1)
    assert [case.status for case in parsed("JUNITXML", text).cases] == ["SKIPPED"]


def test_inner_suites_are_not_counted_twice_where_the_outer_one_counts_them() -> None:
    inner = '<testsuite tests="2" failures="1"/><testsuite tests="1"/>'
    assert numbers(f'<testsuites><testsuite tests="3" failures="1">{inner}</testsuite></testsuites>')[0] == 3


def test_inner_suites_are_added_where_the_outer_one_does_not_count_them() -> None:
    inner = '<testsuite tests="2" failures="1"/>'
    outer = '<testsuite tests="3" failures="1"><testcase name="a"/><testcase name="b"/><testcase name="c"/>'
    assert numbers(f"{outer}{inner}</testsuite>") == (5, 3, 2, 0, 0)
    assert numbers(f'<testsuite tests="0">{inner}</testsuite>') == (2, 1, 1, 0, 0)


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(ReportInvalid, match=r'^r\.xml: tests="many" of <testsuite> is no number'):
        parsed("JUNITXML", '<testsuite tests="many"/>')


def test_the_time_of_the_outermost_suite_is_the_time_of_the_report() -> None:
    inner = '<testsuite tests="1" time="9"><testcase name="a" time="4"/></testsuite>'
    assert counts(f'<testsuites><testsuite tests="1" time="1,234.5">{inner}</testsuite></testsuites>') == Counts(
        1, counts(inner).by_status, 1_234_500_000_000
    )
    assert counts('<testsuite><testcase name="a" time="4"/></testsuite>').duration_in_nano_seconds == 4_000_000_000


def test_a_case_says_why_it_failed_and_does_not_say_it_twice() -> None:
    def message(inside: str) -> str | None:
        return parsed("JUNITXML", f"<testsuite><testcase name='a'>{inside}</testcase></testsuite>").cases[0].message

    assert message('<failure message="no">at line 3</failure>') == "no\nat line 3"
    assert message('<failure message="no">Error: no\nat line 3</failure>') == "Error: no\nat line 3"
    assert message('<error type="X"/>') is None
    assert message('<skipped message="later"/>') == "later"
    assert message("<system-out>chatter</system-out>") is None


def test_a_retried_test_that_passed_in_the_end_has_succeeded() -> None:
    text = '<testsuite><testcase name="a"><flakyFailure>x</flakyFailure></testcase></testsuite>'
    assert parsed("JUNITXML", text).cases[0].status == "SUCCEEDED"


def test_namespaces_do_not_matter() -> None:
    text = '<j:testsuite xmlns:j="urn:x" tests="1"><j:testcase name="a"><j:failure/></j:testcase></j:testsuite>'
    assert parsed("JUNITXML", text).cases[0].status == "FAILED"
