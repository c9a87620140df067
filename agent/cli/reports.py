"""`buildspecd reports`: which tests of a build failed and what they said; what its tests covered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from agent.cli.options import BuildArgument, ConfigOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from agent.cli.client import Client

_GOOD = ("SUCCEEDED", "SKIPPED")


def reports(build: BuildArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the reports of one build: the tests that failed with their messages, and the coverage of each file."""
    from agent.cli.daemon import client

    daemon = client(config)
    found = [whole(daemon, report) for report in daemon.reports(daemon.build(build))]
    if as_json:
        typer.echo(json.dumps({"reports": found}))
        return
    if not found:
        typer.echo("this build has no reports", err=True)
        return
    from agent.cli.screen import out

    for report in found:
        report_page(out(), report)


def whole(daemon: Client, report: dict[str, Any]) -> dict[str, Any]:
    """Return *report* together with all that it lists, under `testCases` or `codeCoverages`."""
    if report["type"] == "TEST":
        return {**report, "testCases": list(_listed(daemon, "DescribeTestCases", "testCases", report["arn"]))}
    return {**report, "codeCoverages": list(_listed(daemon, "DescribeCodeCoverages", "codeCoverages", report["arn"]))}


def _listed(daemon: Client, operation: str, member: str, arn: str) -> Iterator[dict[str, Any]]:
    token = None
    while True:
        answer = daemon.call(operation, reportArn=arn, nextToken=token)
        yield from answer[member]
        token = answer.get("nextToken")
        if token is None:
            return


def report_page(console: Console, report: dict[str, Any]) -> None:
    """Print one report that is `whole`."""
    from rich.text import Text

    from agent.cli.plaintext import plain
    from agent.cli.screen import coloured
    from agent.model.report import counted

    console.print(
        Text.assemble((plain(report["name"]), "bold"), "  ", coloured(report["status"]), f"  {plain(counted(report))}")
    )
    for case in report.get("testCases", ()):
        if case["status"] not in _GOOD:
            _case(console, case)
    if report.get("truncated"):
        console.print("  the report was too long: it does not list every test case")
    if report.get("codeCoverages"):
        _coverage(console, report["codeCoverages"])
    console.print()


def _case(console: Console, case: dict[str, Any]) -> None:
    from rich.text import Text

    from agent.cli.plaintext import plain
    from agent.cli.screen import coloured

    name = " ".join(part for part in (case.get("prefix") or case.get("testSuiteName"), case["name"]) if part)
    console.print(Text.assemble("  ", coloured(case["status"]), f"  {plain(name)}"))
    for line in plain(case.get("message") or "").splitlines():
        console.print(Text(f"      {line}"))


def _coverage(console: Console, files: list[dict[str, Any]]) -> None:
    from agent.cli.screen import table

    rows = (
        (
            f"{file['lineCoveragePercentage']:.1f}%",
            f"{file['linesCovered']}/{file['linesCovered'] + file['linesMissed']}",
            f"{file['branchesCovered']}/{file['branchesCovered'] + file['branchesMissed']}",
            file["filePath"],
        )
        for file in files
    )
    table(console, ("COVERED", "LINES", "BRANCHES", "FILE"), rows)
