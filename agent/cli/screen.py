"""Screen: tables and pages for people. Colour only on a terminal; texts of builds cannot steer the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.cli.plaintext import plain
from agent.cli.verdict import timed_out
from agent.kit.clock import SystemClock
from agent.model.report import counted

_COLOURS = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "FAULT": "magenta",
    "TIMED_OUT": "red",
    "STOPPED": "yellow",
    "IN_PROGRESS": "cyan",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}
_PIPE_WIDTH = 4096
"""Columns where no terminal cuts: a line that is piped stays whole."""


def coloured(word: object) -> Text:
    """Return a status in its colour."""
    return Text(plain(word), style=_COLOURS.get(str(word), ""))


def out() -> Console:
    """Return standard output; rich itself heeds NO_COLOR and whether it is a terminal."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def err() -> Console:
    """Return standard error."""
    width = None if sys.stderr.isatty() else _PIPE_WIDTH
    return Console(stderr=True, highlight=False, markup=False, emoji=False, width=width)


def table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print *rows* under *heads*; a `Text` keeps its colour, everything else is shown plain."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    console.print(grid)


def build_page(console: Console, build: Mapping[str, Any], reports: Iterable[Mapping[str, Any]] = ()) -> None:
    """Print all that is worth knowing of one build."""
    console.print(Text.assemble((plain(build["id"]), "bold"), "  ", coloured(status_of(build))))
    _facts(
        console,
        [
            ("number", build["buildNumber"]),
            ("source", _source(build)),
            ("started", f"{moment(build['startTime'])} by {build['initiator']}"),
            ("duration", duration(elapsed(build))),
            ("paused", _pause(build)),
            ("queued", build["buildspecd"].get("waitsFor")),
            ("workspace", build["buildspecd"].get("workspace")),
            ("image", build["environment"]["image"]),
            ("retry of", build["buildspecd"].get("retryOf")),
            *_outcome(build),
            *map(_report, reports),
            *(("exported", f"{item['name']}={item['value']}") for item in build["exportedEnvironmentVariables"]),
        ],
    )
    console.print()
    phases(console, build)
    advice(console, build)


def summary(console: Console, build: Mapping[str, Any], reports: Iterable[Mapping[str, Any]] = ()) -> None:
    """Print how a build that was watched has ended, in a few lines."""
    console.print()
    phases(console, build, quick=False)
    _facts(console, [*_outcome(build), *map(_report, reports)])
    advice(console, build)
    console.print(
        Text.assemble("buildspecd: ", coloured(status_of(build)), f" in {duration(elapsed(build))}", style="bold")
    )


def phases(console: Console, build: Mapping[str, Any], *, quick: bool = True) -> None:
    """Print the phases with their durations and why they ended so; without *quick* only those that took time."""
    rows = []
    for phase in build["phases"]:
        status = phase.get("phaseStatus", "" if phase["phaseType"] == "COMPLETED" else "IN_PROGRESS")
        end = phase.get("endTime")
        seconds = None if end is None else float(end - phase["startTime"])  # the API's own member is whole seconds
        if phase["phaseType"] == "COMPLETED" or (not quick and status == "SUCCEEDED" and (seconds or 0.0) < 0.1):
            continue
        rows.append(
            (phase["phaseType"], coloured(status), "" if seconds is None else duration(seconds), contexts(phase))
        )
    if rows:
        table(console, ("PHASE", "STATUS", "TIME", ""), rows)


def contexts(phase: Mapping[str, Any]) -> str:
    """Return why a phase ended as it did; empty where it succeeded."""
    texts = []
    for context in phase.get("contexts", ()):
        code, message = context.get("statusCode", ""), context.get("message", "")
        if code or message:
            texts.append(f"{code}: {message}" if code else message)
    return "; ".join(texts)


def advice(console: Console, build: Mapping[str, Any]) -> None:
    """Print what to do next, where the agent knows it."""
    for label, member in (("stopped", "stopReason"), ("cause", "cause"), ("advice", "advice")):
        if text := build["buildspecd"].get(member):
            console.print(Text.assemble((f"{label}: ", "bold"), plain(text)))
    for sink, problem in build["buildspecd"]["logs"]["problems"].items():
        console.print(Text.assemble((f"log to {plain(sink)}: ", "bold"), plain(problem)))
    for gap in build["buildspecd"]["logs"].get("gaps", ()):
        lost = f"{gap['lines']} lines are not there (bytes {gap['start']} to {gap['end']} of the log): {gap['reason']}"
        console.print(Text.assemble((f"log to {plain(gap['sink'])}: ", "bold"), plain(lost)))


def status_of(build: Mapping[str, Any]) -> str:
    """Return the status of a build; that it ran out of time is said, where the API says FAILED."""
    return "TIMED_OUT" if timed_out(build) else str(build["buildStatus"])


def elapsed(build: Mapping[str, Any]) -> float:
    """Return the seconds that a build took, or has taken so far."""
    end = build.get("endTime", SystemClock().now())
    return float(max(0.0, end - build["startTime"]))


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f}s" if seconds % 1 else f"{int(seconds)}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def moment(epoch: float) -> str:
    """Return a time in this host's zone."""
    return datetime.fromtimestamp(epoch, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _source(build: Mapping[str, Any]) -> str:
    asked, found = build.get("sourceVersion"), build.get("resolvedSourceVersion")
    version = " -> ".join(dict.fromkeys(text for text in (asked, found) if text))
    location = build["source"].get("location", build["source"]["type"])
    return f"{location} {version}".rstrip()


def _pause(build: Mapping[str, Any]) -> str | None:
    since = build["buildspecd"].get("pausedSince")
    return since and f"since {moment(since)}; to get in: buildspecd shell {build['id']}; to go on: codebuild-resume"


def _outcome(build: Mapping[str, Any]) -> list[tuple[str, object]]:
    ours, logs = build["buildspecd"], build["logs"]
    cache = ours["cache"]
    done = [word for word in (cache["restored"], "saved" if cache["saved"] else "") if word and word != "off"]
    group = logs.get("groupName")
    return [
        *(("artifact", item["location"]) for item in (build["artifacts"], *build["secondaryArtifacts"])),
        ("cache", ", ".join(done)),
        ("log", f"{group} {logs['streamName']}" if group else None),
        ("log", logs.get("s3LogsArn")),
    ]


def _report(report: Mapping[str, Any]) -> tuple[str, object]:
    return "report", "  ".join(text for text in (report["name"], report["status"], counted(report)) if text)


def _facts(console: Console, facts: Iterable[tuple[str, object]]) -> None:
    rows = [(Text(label, style="bold"), value) for label, value in facts if value not in (None, "")]
    if rows:
        grid = Table.grid(padding=(0, 2))
        for label, value in rows:
            grid.add_row(label, Text(plain(value)))
        console.print(grid)
