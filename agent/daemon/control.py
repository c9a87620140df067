"""Control: what may be asked of a running daemon, whoever asks (command line, API, dashboard)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.model.build import Build
from agent.model.project import Project
from agent.model.report import Report, ReportDetails, ReportGroup
from agent.model.request import BuildRequest


@dataclass(frozen=True)
class NextRun:
    """When a schedule of a project is due next, in epoch seconds; None: never again."""

    name: str
    expression: str
    timezone: str
    at: float | None


@dataclass(frozen=True)
class ProjectState:
    """A project as the daemon knows it. `problems` are the mistakes of its file; `project` is the last good one."""

    name: str
    project: Project | None
    file: str
    problems: tuple[str, ...] = ()
    last_build: Build | None = None
    next_runs: tuple[NextRun, ...] = ()


@dataclass(frozen=True)
class ConfigState:
    """How it stands with the repository that the configuration comes from (`config_source`).

    `revision` is the commit that holds ("": none yet), `refused` a newer one that was refused as a whole and `problems`
    why; `trouble` says why the repository cannot be looked at now ("" when it can).
    """

    url: str
    branch: str
    path: str
    revision: str = ""
    refused: str = ""
    problems: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class DaemonState:
    """How the daemon stands. `services` maps the name of each loop to its last trouble ("" when it runs)."""

    version: str
    started: float
    draining: bool
    running: int
    queued: int
    engine: str
    services: dict[str, str]
    config: ConfigState | None = None


class Control(Protocol):
    """Any thread may call any method; each returns soon. A build is named by id, ARN, uuid or a unique prefix of it."""

    def start(self, request: BuildRequest, token: str | None = None) -> Build:
        """Store and queue a build. Raises `ProjectUnknown`, `RequestInvalid` (overrides that make no sense).

        The same *token* with the same request within five minutes is the same build (service.md 5.4).
        """
        ...

    def stop(self, build: str, by: str = "") -> Build:
        """Ask a build to end, and say who wants it; one that has ended is returned as it is. Raises `BuildUnknown`."""
        ...

    def retry(self, build: str) -> Build:
        """Queue a new build with the effective parameters of an old one. Raises `BuildUnknown`."""
        ...

    def get(self, build: str) -> Build:
        """Return one build. Raises `BuildUnknown`, or `RequestInvalid` when a prefix means several."""
        ...

    def builds(self, *, project: str | None = None, status: str | None = None, limit: int = 100) -> list[Build]:
        """Return builds, newest first."""
        ...

    def projects(self) -> list[ProjectState]:
        """Return every project, sorted by name, the broken ones included."""
        ...

    def invalidate_cache(self, project: str) -> None:
        """Let no later build of *project* see what its caches hold now. Raises `ProjectUnknown`."""
        ...

    def log_directory(self, build: str) -> Path:
        """Return the directory that `agent.buildlog` reads the build's log from."""
        ...

    def report(self, arn: str) -> Report | None:
        """Return the report with exactly this ARN, or None."""
        ...

    def report_details(self, arn: str) -> ReportDetails:
        """Return what a report lists; nothing for one that is not there."""
        ...

    def report_arns(self, *, group: str | None = None, status: str | None = None) -> list[str]:
        """Return the ARNs of reports, newest first; those of one group (its ARN), or of one status."""
        ...

    def report_groups(self) -> list[ReportGroup]:
        """Return every report group, by name."""
        ...

    def drain(self) -> DaemonState:
        """Take no new build from now on, also after a restart; the running ones go on."""
        ...

    def resume(self) -> DaemonState:
        """Take builds again: the end of a drain."""
        ...

    def state(self) -> DaemonState:
        """Return how the daemon stands."""
        ...
