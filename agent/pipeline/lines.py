"""The lines of the log that are the daemon's own, in CodeBuild's shapes (buildspec.md 14)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agent import __version__
from agent.buildspec.plan import Plan
from agent.model.phase import PhaseContext, PhaseType
from agent.model.project import Source
from agent.model.report import Report, counted
from agent.model.status import Status
from agent.pipeline.discovery import LIMIT_SECONDS

_SILENT = frozenset({PhaseType.FINALIZING, PhaseType.COMPLETED, PhaseType.QUEUED, PhaseType.SUBMITTED})

OPENING = (
    f"Running on buildspecd {__version__}",
    "Waiting for agent ping",
    "Waiting for DOWNLOAD_SOURCE",
)


def phase_end(phase: PhaseType, status: Status, context: PhaseContext) -> Iterator[str]:
    """Return the two lines that end a phase; nothing for the phases that CodeBuild is silent about.

    PROVISIONING speaks only when it went wrong: CodeBuild has no log yet then, and we need not hide the reason.
    """
    good = status is Status.SUCCEEDED
    if phase in _SILENT or (good and phase is PhaseType.PROVISIONING):
        return
    yield f"Phase complete: {phase} State: {'SUCCEEDED' if good else status}"
    yield f"Phase context status code: {context.status_code} Message: {context.message}"


def sources_there(directories: Mapping[str | None, str]) -> Iterator[str]:
    """Return the lines between the checkout and the buildspec; the primary source's identifier is None."""
    yield "Phase is DOWNLOAD_SOURCE"
    for identifier, directory in directories.items():
        yield f"CODEBUILD_SRC_DIR{f'_{identifier}' if identifier else ''}={directory}"


def plan_read(plan: Plan) -> Iterator[str]:
    """Return the lines between the buildspec and the variables."""
    if plan.warnings:
        yield plan.warnings
    for notice in plan.notices:
        yield f"warning: {notice}"
    if plan.batch is not None:
        yield "warning: batch builds are not run by this version; the section `batch` is ignored, as by a plain start"


def higher_timeout(sources: Iterable[Source]) -> Iterator[str]:
    """Return the line that CodeBuild has where something was fetched from S3."""
    if any(source.type == "S3" for source in sources):
        yield "Setting HTTP client timeout to higher timeout for S3 source"


def phases_found(plan: Plan) -> Iterator[str]:
    """Return the list of phases that the buildspec mentions, with their commands counted."""
    yield f"Phases found in YAML: {len(plan.listed_phases)}"
    for phase, commands in plan.listed_phases:
        yield f" {phase}: {commands} commands"


def discovery_begins(pattern: str) -> Iterator[str]:
    """Return the lines ahead of the search for result files; unlike artifacts, with two spaces (buildspec.md 14.3)."""
    yield f"Set report auto-discover timeout to {LIMIT_SECONDS:g} seconds"
    yield "Expanding base directory path:  ."
    yield "Assembling file list"
    yield "Expanding ."
    yield "Expanding file paths for base directory ."
    yield "Assembling file list"
    yield f"Expanding {pattern}"


def discovery_ends(files: int, seconds: float) -> Iterator[str]:
    """Return the lines behind it."""
    yield f"Found {files} file(s)" if files else "No matching auto-discover report paths found"
    yield f"Report auto-discover file discovery took {seconds:f} seconds"


def report_made(report: Report) -> str:
    """Return the line, one of ours, that tells of a report: a failed test is seen, though it fails no build."""
    return f"Report {report.name}: {report.status}{', ' if (counts := counted(report.wire())) else ''}{counts}"
