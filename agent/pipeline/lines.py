"""The lines of the log that are the daemon's own, in CodeBuild's shapes (buildspec.md 14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent import __version__
from agent.buildspec.plan import Plan
from agent.model.phase import PhaseContext, PhaseType
from agent.model.status import Status

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
    if plan.variables.git_credential_helper:
        yield "warning: builds are given no git credentials by this version; git-credential-helper is ignored"
    if plan.reports:
        yield "warning: reports are not collected by this version; the section `reports` is ignored"
    if plan.has_batch:
        yield "warning: batch builds are not run by this version; the section `batch` is ignored, as by a plain start"


def phases_found(plan: Plan) -> Iterator[str]:
    """Return the list of phases that the buildspec mentions, with their commands counted."""
    yield f"Phases found in YAML: {len(plan.listed_phases)}"
    for phase, commands in plan.listed_phases:
        yield f" {phase}: {commands} commands"
