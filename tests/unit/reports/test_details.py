"""Details of single formats, and of the numbers in them."""

from __future__ import annotations

import pytest

from agent.reports.fields import MOST_NANOSECONDS, clean, clock, nanoseconds, number
from agent.reports.formats import FORMATS
from agent.reports.lines import Track
from agent.reports.summary import summarise
from tests.unit.reports.samples import parsed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0.5", 0.5),
        ("1,234.5", 1234.5),
        ("12,345", 12345),
        ("0,5", 0.5),
        (" 2 ", 2),
        ("1e-3", 0.001),
        (".5", 0.5),
        (1.5, 1.5),
        ("", 0),
        (None, 0),
        ("-3", 0),
        ("NaN", 0),
        ("inf", 0),
        (float("nan"), 0),
        (float("inf"), 0),
        ("1.2.3", 0),
        ("12:30", 0),
        ("\u0663", 3),
        (True, 0),
        ([], 0),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert nanoseconds(text) == round(seconds * 1e9)


def test_a_duration_has_an_end() -> None:
    assert nanoseconds("1e300") == nanoseconds("9" * 90) == MOST_NANOSECONDS
    assert nanoseconds(10**400) == nanoseconds(-(10**400)) == 0
    assert number(10**400) is None


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("00:00:00.0123456", 12_345_600),
        ("01:02:03", 3723 * 10**9),
        ("1.00:00:00", 86400 * 10**9),
        ("", 0),
        ("5", 0),
        ("-00:00:01", 0),
        ("a:b:c", 0),
    ],
)
def test_the_clock_of_dotnet_is_read(text: str, nanos: int) -> None:
    assert clock(text) == nanos


def test_text_is_cut_after_it_was_cleaned() -> None:
    assert clean("\x1b[1mab\x1b[0mcd\r\n\x00", 6) == "abcd\n\ufffd"
    assert clean("x" * 50, 10) == "x" * 10
    assert clean(None, 10) == clean(17, 10) == ""


def test_a_setup_of_testng_that_failed_is_shown_as_an_error() -> None:
    methods = '<test-method name="setUp" status="FAIL" is-config="true"/><test-method name="t" status="SKIP"/>'
    text = f'<testng-results><suite name="s"><test><class name="C">{methods}</class></test></suite></testng-results>'
    results = parsed("TESTNGXML", text)
    assert [(case.name, case.status) for case in results.cases] == [("setUp", "ERROR"), ("t", "SKIPPED")]
    assert summarise(FORMATS["TESTNGXML"], [results]).status == "FAILED"


def test_results_of_nunit_before_its_version_2_5_have_no_result() -> None:
    cases = [("True", "True"), ("True", "False"), ("False", ""), ("", "")]
    told = "".join(f'<test-case name="N.C.M(&quot;a.b&quot;)" executed="{ran}" success="{ok}"/>' for ran, ok in cases)
    results = parsed("NUNITXML", f"<test-results><test-suite>{told}</test-suite></test-results>")
    assert [case.status for case in results.cases] == ["SUCCEEDED", "FAILED", "SKIPPED", "UNKNOWN"]
    assert results.cases[0].prefix == "N.C"


def test_definitions_of_a_trx_may_stand_before_its_results() -> None:
    unit = '<UnitTest id="1" storage="x/y.dll"><TestMethod className="A.B"/></UnitTest>'
    result = '<UnitTestResult testId="1" outcome="Passed"/>'
    text = f"<TestRun><TestDefinitions>{unit}</TestDefinitions><Results>{result}</Results></TestRun>"
    (case,) = parsed("VISUALSTUDIOTRX", text).cases
    assert (case.name, case.prefix, case.test_suite_name) == ("(no name)", "A.B", "y.dll")


def test_a_clover_file_without_metrics_is_counted_by_its_lines() -> None:
    lines = [
        '<line num="1" type="method" count="0"/>',
        '<line num="2" type="stmt" count="4"/>',
        '<line num="3" type="cond" truecount="1" falsecount="0"/>',
        '<line num="4" type="stmt" count="0"/>',
    ]
    file_ = f'<file name="a"><class>{"".join(lines)}</class></file>'
    (file,) = parsed("CLOVERXML", f"<coverage><project><package>{file_}</package></project></coverage>").coverages
    assert (file.lines_covered, file.lines_missed, file.branches_covered, file.branches_missed) == (2, 1, 1, 1)


def test_classes_of_one_file_are_taken_together_in_cobertura() -> None:
    first = '<class filename="A.cs"><methods><method><lines><line number="9" hits="0"/></lines></method></methods>'
    first += '<lines><line number="1" hits="1"/><line number="2" hits="0"/></lines></class>'
    second = '<class filename="A.cs"><lines><line number="2" hits="3"/><line number="5" hits="0"/></lines></class>'
    (file,) = parsed("COBERTURAXML", f"<coverage><packages>{first}{second}</packages></coverage>").coverages
    assert (file.lines_covered, file.lines_missed) == (2, 1)


def test_commands_of_one_simplecov_file_are_taken_together() -> None:
    text = (
        '{"RSpec": {"coverage": {"a.rb": [1, 0, null]}}, "Minitest": {"coverage": {"a.rb": {"lines": [0, 0, null]}}}}'
    )
    (file,) = parsed("SIMPLECOV", text).coverages
    assert (file.lines_covered, file.lines_missed) == (1, 1)


def test_a_simplecov_file_that_covers_nothing_is_no_mistake() -> None:
    assert parsed("SIMPLECOV", '{"RSpec": {"coverage": {}, "timestamp": 1}}').coverages == ()


def test_a_scenario_without_steps_did_not_run() -> None:
    (case,) = parsed(
        "CUCUMBERJSON", '[{"name": "f", "uri": "u", "elements": [{"name": "s", "type": "scenario"}]}]'
    ).cases
    assert case.status == "SKIPPED"
    assert parsed("CUCUMBERJSON", "[]").cases == ()


def test_lines_told_many_times_are_kept_once() -> None:
    track = Track()
    for _ in range(5):
        other = Track()
        for line in range(4000):
            other.line(line, ran=line % 2 == 0)
            other.branch(line, 1, 2)
        track.add(other.lines())
    amount = track.lines().amount()
    assert (amount.lines_covered, amount.lines_missed) == (2000, 2000)
    assert (amount.branches_covered, amount.branches_missed) == (4000, 4000)
