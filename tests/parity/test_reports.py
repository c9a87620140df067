"""Section 12 of buildspec.md: report groups, what is read of result files, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.model.project import Artifacts
from agent.model.report import Report
from agent.store.reports import Reports
from tests.parity.site import ACCOUNT, REGION, Ended, Site, spec

pytestmark = pytest.mark.docker

GROUP = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:report-group/"
GOOD = '<testsuite name="s" tests="2"><testcase name="a" time="0.5"/><testcase name="b"/></testsuite>'
BAD = (
    '<testsuite name="s" tests="2" failures="1"><testcase name="a"/>'
    '<testcase name="b"><failure message="1 is not 2">at line 7</failure></testcase></testsuite>'
)
IMPOSSIBLE = '<testsuite name="s" tests="1" failures="2"><testcase name="a"/></testsuite>'
COBERTURA = (
    '<coverage line-rate="0.5"><packages><package><classes><class filename="a.py"><lines>'
    '<line number="1" hits="1"/><line number="2" hits="0"/></lines></class></classes></package></packages></coverage>'
)


def reports(site: Site, ended: Ended) -> dict[str, Report]:
    """Return the reports of a build by the names of their groups."""
    store = Reports(site.workshop.database)
    found = [store.get(arn) for arn in ended.build.report_arns]
    return {report.name: report for report in found if report}


def many(total: int, failed: int) -> str:
    """Return a JUnit file; the failed cases are the last ones."""
    good = "".join(f'<testcase name="good {n}"/>' for n in range(total - failed))
    bad = "".join(f'<testcase name="bad {n}"><failure message="no"/></testcase>' for n in range(failed))
    return f'<testsuite name="s" tests="{total}" failures="{failed}">{good}{bad}</testsuite>'


@pytest.fixture(scope="module")
def told(fresh_site: Any) -> tuple[Site, Ended]:
    """A build with five groups of reports: good, failed, long, coverage; names in variables."""
    site: Site = fresh_site()
    section = {
        "unit": {"files": ["out/*.xml"], "base-directory": "$WHERE"},
        "$NAMED-$BUILT": {"files": ["bad.xml"]},
        "long": {"files": ["**/many.xml"], "base-directory": "deep"},
        f"{GROUP}shared": {"files": ["cov.xml"], "file-format": "$REPORT_FORMAT"},
        "absolute": {"files": ["/tmp/results/*.xml"]},
        "sixth": {"files": ["bad.xml"]},
    }
    files = {"here/out/good.xml": GOOD, "bad.xml": BAD, "deep/x/many.xml": many(600, 10), "cov.xml": COBERTURA}
    ended = site.build(
        spec(
            env={"variables": {"WHERE": "here", "NAMED": "named", "REPORT_FORMAT": "CoberturaXml"}},
            build=["BUILT=late", "mkdir /tmp/results; cp bad.xml /tmp/results/"],
            artifacts={"files": ["bad.xml"]},
            reports=section,
        ),
        files=files,
        artifacts=Artifacts(type="S3", location=site.bucket, name="out"),
    )
    return site, ended


def test_case_78_a_group_is_named_after_project_and_section(told: tuple[Site, Ended]) -> None:
    site, ended = told
    found = reports(site, ended)
    assert list(found) == ["web-unit", "web-named-late", "web-long", "shared", "web-absolute"]
    unit = found["web-unit"]
    assert unit.report_group_arn == f"{GROUP}web-unit"
    assert unit.arn.startswith(f"arn:aws:codebuild:{REGION}:{ACCOUNT}:report/web-unit:")
    assert (unit.status, unit.type, unit.execution_id) == ("SUCCEEDED", "TEST", ended.build.arn)
    assert unit.expired - unit.created == 30 * 86400
    assert unit.test_summary
    assert unit.test_summary.duration_in_nano_seconds == 500_000_000
    assert [group.name for group in Reports(site.workshop.database).groups()] == sorted(found)


def test_case_79_of_600_cases_500_are_kept_with_every_failed_one(told: tuple[Site, Ended]) -> None:
    site, ended = told
    report = reports(site, ended)["web-long"]
    cases = Reports(site.workshop.database).details(report.arn).test_cases
    assert (report.truncated, len(cases)) == (True, 500)
    assert report.test_summary
    assert report.test_summary.total == 600
    assert [case.status for case in cases[:11]] == ["FAILED"] * 10 + ["SUCCEEDED"]
    assert cases[0].test_raw_data_path == "x/many.xml"


def test_case_81_failed_cases_fail_the_report_and_not_the_build(told: tuple[Site, Ended]) -> None:
    site, ended = told
    found = reports(site, ended)
    assert ended.status == "SUCCEEDED"
    assert found["web-named-late"].status == found["web-absolute"].status == "FAILED"
    assert "Report web-named-late: FAILED, 2 tests: 1 succeeded, 1 failed" in ended.lines
    assert not any("auto-discover" in line for line in ended.lines)
    assert "warning: a build reports to at most 5 groups; left out: sixth" in ended.lines


def test_coverage_is_a_report_of_its_own_type_in_the_group_of_an_arn(told: tuple[Site, Ended]) -> None:
    site, ended = told
    report = reports(site, ended)["shared"]
    assert (report.type, report.report_group_arn) == ("CODE_COVERAGE", f"{GROUP}shared")
    assert report.code_coverage_summary
    assert report.code_coverage_summary.line_coverage_percentage == 50
    assert "Report shared: SUCCEEDED, 50.0% of lines covered" in ended.lines


def test_artifacts_come_first_in_the_log_and_reports_are_chosen_like_them(told: tuple[Site, Ended]) -> None:
    _, ended = told
    phase = ended.said_after("Phase complete: POST_BUILD State: SUCCEEDED")
    assert phase[1:15] == [
        "Expanding base directory path: .",
        "Assembling file list",
        "Expanding .",
        "Expanding file paths for base directory .",
        "Assembling file list",
        "Expanding bad.xml",
        "Found 1 file(s)",
        "warning: a build reports to at most 5 groups; left out: sixth",
        "Expanding base directory path: here",
        "Assembling file list",
        "Expanding here",
        "Expanding file paths for base directory here",
        "Assembling file list",
        "Expanding out/*.xml",
    ]


def test_case_80_more_failures_than_tests_fail_the_phase_and_the_other_groups_are_stored(site: Site) -> None:
    section = {
        "odd": {"files": ["odd.xml"]},
        "none": {"files": ["missing/*.xml"]},
        "base": {"files": ["x"], "base-directory": "nowhere"},
        "some": {"files": ["*.xml"]},
        "what": {"files": ["good.xml"], "file-format": "JUNIT"},
    }
    ended = site.build(
        spec(build=["true"], artifacts={"files": ["good.xml"]}, reports=section),
        files={"odd.xml": IMPOSSIBLE, "good.xml": GOOD},
        artifacts=Artifacts(type="S3", location=site.bucket, name="out"),
    )
    assert ended.bad_phases == {"UPLOAD_ARTIFACTS": "FAILED"}
    code, message = ended.context("UPLOAD_ARTIFACTS")
    negative = "[error processing report: [InvalidInputException: Test summary: status count cannot be negative]]"
    assert code == "CLIENT_ERROR"
    assert message.startswith(
        f"[odd: {negative}], [none: [no matching report paths found]], "
        f"[base: [no matching base directory path found for nowhere]], [some: {negative}], [what: [error processing "
    )
    found = reports(site, ended)
    assert {name: report.status for name, report in found.items()} == dict.fromkeys(
        ("web-odd", "web-none", "web-base", "web-some"), "INCOMPLETE"
    )
    assert found["web-odd"].test_summary is None
    assert found["web-some"].test_summary
    assert found["web-some"].test_summary.total == 2
    assert site.stored() == ["out/good.xml"]


def test_artifacts_that_are_missing_cost_no_report_and_both_reasons_are_told(site: Site) -> None:
    ended = site.build(
        spec(build=["true"], artifacts={"files": ["gone"]}, reports={"a": {"files": ["x"]}, "b": {"files": ["*.xml"]}}),
        files={"good.xml": GOOD},
        artifacts=Artifacts(type="S3", location=site.bucket, name="out"),
    )
    assert ended.context("UPLOAD_ARTIFACTS") == (
        "CLIENT_ERROR",
        "no matching artifact paths found; [a: [no matching report paths found]]",
    )
    assert reports(site, ended)["web-b"].status == "SUCCEEDED"
    assert ended.lines.count("Phase complete: UPLOAD_ARTIFACTS State: FAILED") == 1


def test_result_files_that_nobody_named_are_discovered_by_format(site: Site) -> None:
    files = {
        "target/a.xml": BAD,
        "target/cov.xml": COBERTURA,
        "pom.xml": "<project/>",
        ".git/x.xml": GOOD,
        "torn.xml": "<testsuite><",
    }
    ended = site.build(spec(build=["chmod 0 target/a.xml || true"]), files=files)
    assert ended.status == "SUCCEEDED"
    found = reports(site, ended)
    assert {name: report.status for name, report in found.items()} == {
        "web-COBERTURAXML-AutoDiscovered": "SUCCEEDED",
        "web-JUNITXML-AutoDiscovered": "FAILED",
    }
    lines = ended.said_after("Set report auto-discover timeout to 5 seconds")
    assert lines[:7] == [
        "Expanding base directory path:  .",
        "Assembling file list",
        "Expanding .",
        "Expanding file paths for base directory .",
        "Assembling file list",
        "Expanding **/*",
        "Found 3 file(s)",
    ]
    assert lines[7] == "Report auto-discover file discovery took <n> seconds"
    assert lines[8].startswith(
        "warning: auto-discovered JUNITXML: error processing report: [InvalidInputException: torn"
    )


def test_a_command_can_turn_discovery_off_or_elsewhere(site: Site) -> None:
    off = site.build(spec(build=["export CODEBUILD_CONFIG_AUTO_DISCOVER=false"]), files={"a.xml": GOOD})
    assert off.build.report_arns == ()
    assert not any("auto-discover" in line for line in off.lines)
    elsewhere = site.build(
        spec(env={"variables": {"CODEBUILD_CONFIG_AUTO_DISCOVER_DIR": "out/*"}}, build=["true"]), files={"a.xml": GOOD}
    )
    assert elsewhere.build.report_arns == ()
    assert "Expanding out/*" in elsewhere.lines
    assert "No matching auto-discover report paths found" in elsewhere.lines


def test_a_secret_that_a_test_prints_is_in_no_report(aws_site: Site) -> None:
    aws_site.workshop.aws.client("ssm").put_parameter(Name="/p/reports", Value="s3cret-value", Type="String")
    case = '<testcase name="n"><failure message="got VALUE">VALUE</failure></testcase>'
    ended = aws_site.build(
        spec(
            env={"parameter-store": {"VALUE": "/p/reports"}},
            build=[f'echo \'<testsuite tests="1" failures="1">{case}</testsuite>\' | sed "s/VALUE/$VALUE/g" > r.xml'],
            reports={"r": {"files": ["r.xml"]}},
        )
    )
    (cases,) = Reports(aws_site.workshop.database).details(ended.build.report_arns[0]).test_cases
    assert cases.message == "got ***\n***"
