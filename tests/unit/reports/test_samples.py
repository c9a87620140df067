"""What the files of real tools become."""

from __future__ import annotations

import pytest

from agent.model.report import TestCase
from tests.unit.reports import samples

CASES = {  # format, duration in milliseconds, succeeded, failed, error, skipped, unknown
    "pytest.xml": ("JUNITXML", 81, 3, 3, 1, 3, 0),
    "unittest-xml-reporting.xml": ("JUNITXML", 3, 1, 1, 1, 1, 0),
    "jest-junit.xml": ("JUNITXML", 414, 1, 2, 0, 1, 0),
    "mocha-junit-reporter.xml": ("JUNITXML", 2, 2, 2, 0, 0, 0),
    "mocha-xunit.xml": ("JUNITXML", 2, 1, 0, 2, 1, 0),
    "surefire.xml": ("JUNITXML", 107, 1, 1, 1, 1, 0),
    "phpunit.xml": ("JUNITXML", 13.82, 2, 1, 1, 1, 0),
    "nunit2.xml": ("NUNITXML", 65, 2, 1, 3, 1, 0),
    "jest-nunit-reporter.xml": ("NUNITXML", 297, 1, 2, 0, 0, 0),
    "nunit3.xml": ("NUNIT3XML", 532, 3, 1, 3, 1, 0),
    "testcafe-nunit3.xml": ("NUNIT3XML", 3703.5, 1, 1, 0, 1, 0),
    "testng.xml": ("TESTNGXML", 33, 2, 2, 0, 1, 0),
    "jest.trx": ("VISUALSTUDIOTRX", 4, 1, 2, 0, 1, 0),
    "vstest.trx": ("VISUALSTUDIOTRX", 92523.3, 2, 2, 2, 1, 1),
    "cucumber-js.json": ("CUCUMBERJSON", 3.120726, 1, 1, 0, 0, 2),
    "cucumber-jvm.json": ("CUCUMBERJSON", 10.000002, 1, 2, 0, 1, 0),
    "behave.json": ("CUCUMBERJSON", 0.844717, 1, 1, 0, 0, 2),
}
COVERAGES = {  # format, then path, lines covered and missed, branches covered and missed of each file
    "jacoco.xml": ("JACOCOXML", ("core/shop/Price.java", 3, 4, 2, 2)),
    "coverage-py.xml": ("COBERTURAXML", ("shop.py", 5, 3, 2, 2)),
    "istanbul-cobertura.xml": ("COBERTURAXML", ("shop.js", 4, 1, 2, 2), ("mt/shop.spec.js", 6, 0, 0, 0)),
    "phpunit-cobertura.xml": ("COBERTURAXML", ("Shop.php", 3, 1, 0, 0)),
    "istanbul-clover.xml": ("CLOVERXML", ("/src/js/shop.js", 4, 1, 2, 2), ("/src/js/mt/shop.spec.js", 6, 0, 0, 0)),
    "phpunit-clover.xml": ("CLOVERXML", ("/src/php/src/Shop.php", 3, 1, 0, 0)),
    "simplecov.resultset.json": ("SIMPLECOV", ("/src/ruby/shop.rb", 4, 2, 1, 3)),
    "simplecov-coverage.json": ("SIMPLECOV", ("/src/ruby/shop.rb", 4, 2, 1, 1)),
}
SHOWN = {  # the first case that is listed: status, prefix, name, suite, the beginning of its message
    "pytest.xml": ("FAILED", "test_shop", "test_gross[1]", "pytest", "assert 1 == 238"),
    "jest-junit.xml": ("FAILED", "price gross", "price gross", "price", "Error: expect(received).toBe(expected)"),
    "surefire.xml": ("ERROR", "shop.PriceTest", "boom", "shop.PriceTest", "java.lang.IllegalStateException: boom\n"),
    "phpunit.xml": ("FAILED", "ShopTest", "testGross with data set #1", "ShopTest::testGross", "ShopTest::testGross"),
    "nunit2.xml": (
        "ERROR",
        "Shop.Tests.CartTest",
        "Shop.Tests.CartTest.Boom",
        None,
        "System.InvalidOperationException : boom\nat Shop.Tests.CartTest.Boom ()",
    ),
    "nunit3.xml": ("FAILED", "Shop.Tests.CartTest", "Gross(1)", None, "Expected: 100\n  But was:  1\nat Shop."),
    "testng.xml": ("FAILED", "shop.CartTest", "boom", "Shop", "java.lang.IllegalStateException: boom\n\tat shop."),
    "vstest.trx": (
        "FAILED",
        "Shop.Tests.CartTest",
        "Shop.Tests.CartTest.Gross",
        "shop.tests.dll",
        "Assert.Equal() Failure\nExpected: 119\nActual:   1\nat Shop.Tests",
    ),
    "cucumber-js.json": ("FAILED", "features/shop.feature", "Buying wrongly", "Shop", "AssertionError"),
    "cucumber-jvm.json": (
        "FAILED",
        "file:src/test/resources/shop.feature",
        "Buying two",
        "Shop",
        "java.lang.IllegalStateException: no cart\n\tat shop.Steps",
    ),
}


def test_every_sample_is_looked_at() -> None:
    assert set(samples.FILES) == set(CASES) | set(COVERAGES)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_a_real_tool_are_counted_by_status(name: str) -> None:
    format_, milliseconds, *counts = CASES[name]
    assert samples.format_of(name) == format_
    outcome = samples.outcome_of(name)
    assert outcome.test_summary is not None
    statuses = ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN")
    assert outcome.test_summary.status_counts == dict(zip(statuses, counts, strict=True))
    assert outcome.test_summary.total == sum(counts)
    assert outcome.test_summary.duration_in_nano_seconds == round(milliseconds * 1_000_000)
    assert (outcome.type, outcome.status, outcome.truncated) == ("TEST", "FAILED", False)
    assert outcome.code_coverage_summary is None
    assert {case.test_raw_data_path for case in outcome.details.test_cases} == {name}


@pytest.mark.parametrize("name", SHOWN)
def test_the_failed_case_of_a_real_tool_is_shown_with_its_reason(name: str) -> None:
    case: TestCase = samples.outcome_of(name).details.test_cases[0]
    *plain, message = SHOWN[name]
    assert [case.status, case.prefix, case.name, case.test_suite_name] == plain
    assert message is not None
    assert (case.message or "").startswith(message)


@pytest.mark.parametrize("name", COVERAGES)
def test_the_coverage_of_a_real_tool_is_told_by_file(name: str) -> None:
    format_, *files = COVERAGES[name]
    assert samples.format_of(name) == format_
    outcome = samples.outcome_of(name)
    found = [
        (file.file_path, file.lines_covered, file.lines_missed, file.branches_covered, file.branches_missed)
        for file in outcome.details.code_coverages
    ]
    assert found == files
    summary = outcome.code_coverage_summary
    assert summary is not None
    assert summary.lines_covered == sum(file[1] for file in files)
    assert summary.branches_missed == sum(file[4] for file in files)
    assert (outcome.type, outcome.status, outcome.test_summary) == ("CODE_COVERAGE", "SUCCEEDED", None)


def test_percentages_are_cut_after_two_decimals_as_codebuild_cuts_them() -> None:
    summary = samples.outcome_of("istanbul-clover.xml").code_coverage_summary
    assert summary is not None
    assert summary.line_coverage_percentage == 90.9  # 10 of 11
    assert summary.branch_coverage_percentage == 50.0
