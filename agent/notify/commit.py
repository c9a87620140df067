"""Commit: a build's event in the words of a commit status, with CodeBuild's names and texts (service.md 2.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.environment.builtin import BuildFacts, builtin_variables
from agent.errors import SourceNotFound
from agent.model.build import Build
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.event import BuildEvent
from agent.model.phase import PhaseType
from agent.model.project import Project
from agent.model.status import Status
from agent.notify.detail import deep_link
from agent.notify.githosts import host_of
from agent.source import version as versions

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_ENDS = {
    Status.SUCCEEDED: (CommitState.SUCCEEDED, "Build succeeded"),
    Status.FAILED: (CommitState.FAILED, "Build failed"),
    Status.TIMED_OUT: (CommitState.FAILED, "Build timed out"),
    Status.STOPPED: (CommitState.STOPPED, "Build stopped"),
    Status.FAULT: (CommitState.FAULTED, "Build faulted"),
}


def commit_status(event: BuildEvent) -> CommitStatus | None:
    """Return what a git host is to be told of an event; None where it is told nothing.

    A build says that it waits, that it runs, and how it ended; the first two as soon as its commit is known, which is
    before DOWNLOAD_SOURCE only where the request named one.
    """
    build = event.build
    sha, host = commit_of(build), host_of(build.project.source)
    if not reports(build) or host is None or sha is None or not _is_news(event):
        return None
    state, words = _standing(build)
    return CommitStatus(
        key=build.id,
        source=build.project.source,
        sha=sha,
        state=state,
        host=host.name,
        context=context_of(build.project, _region(build), _variables(build)),
        description=f"{words} for project {build.project.name}",
        url=_target(build),
        at=event.at,
    )


def reports(build: Build) -> bool:
    """Whether *build* tells its host how it goes: where its project says so, and always where a webhook started it."""
    return build.project.source.report_build_status or build.webhook is not None


def commit_of(build: Build) -> str | None:
    """Return the commit of the primary source, as soon as it is known."""
    sha = build.resolved_source_version or _named(build)
    return sha if sha and _COMMIT.fullmatch(sha) else None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return *text* with `$NAME` and `${NAME}` replaced; what *variables* do not hold stays as it stands."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def _named(build: Build) -> str | None:
    try:
        return versions.parse(build.source_version).sha
    except SourceNotFound:
        return None


def _is_news(event: BuildEvent) -> bool:
    """Whether *event* changes what was told before: the begin, the end, and of the phases two."""
    if event.kind == "state" or event.completed_phase is PhaseType.QUEUED:
        return True
    return event.completed_phase is PhaseType.DOWNLOAD_SOURCE and event.build.resolved_source_version is not None


def _standing(build: Build) -> tuple[CommitState, str]:
    if build.complete:
        return _ENDS[Status.TIMED_OUT if build.timed_out and build.status is Status.FAILED else build.status]
    queued = build.phase(PhaseType.QUEUED)
    if queued is None or queued.end_time is None:
        return CommitState.QUEUED, "Build queued"
    return CommitState.RUNNING, "Build started"


def context_of(project: Project, region: str, variables: Mapping[str, str]) -> str:
    """Return the name of a project's status: the one in its settings, or CodeBuild's."""
    config = project.source.build_status_config
    if config and config.context:
        return expand(config.context, variables)
    return f"AWS CodeBuild {region} ({project.name})"


def _target(build: Build) -> str | None:
    config = build.project.source.build_status_config
    if config and config.target_url:
        link = expand(config.target_url, _variables(build))
        return link if link.startswith(("https://", "http://")) else None  # a host refuses a status with another
    return deep_link(build)


def _variables(build: Build) -> dict[str, str]:
    """Return the service's own variables; never the user's, which may be secrets, and a status is for everybody."""
    return builtin_variables(build, BuildFacts(_region(build), {}))


def _region(build: Build) -> str:
    return [*build.arn.split(":"), "", "", ""][3]
