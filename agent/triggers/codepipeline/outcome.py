"""Outcome: how a build ended, in the words and within the limits of CodePipeline (service.md 9.3). Pure."""

from __future__ import annotations

import re

from agent.errors import BuildspecdError
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.pipelinejob import Failure
from agent.model.status import Status
from agent.triggers.codepipeline.service import Success

MESSAGE = 5_000
SUMMARY = 2_048
VARIABLES_BYTES = 122_880
"""What all variables of an action may take, names and values together."""

_VARIABLE = re.compile(r"[A-Za-z0-9@\-_]+")
_CONFIGURATION = frozenset(
    {
        Cause.BUILDSPEC_INVALID,
        Cause.BUILDSPEC_MISSING,
        Cause.SOURCE_NOT_FOUND,
        Cause.SOURCE_DENIED,
        Cause.SOURCE_INVALID,
        Cause.VARIABLE_UNRESOLVED,
        Cause.IMAGE_NOT_FOUND,
        Cause.IMAGE_DENIED,
        Cause.IMAGE_UNUSABLE,
        Cause.CONTAINER_REFUSED,
        Cause.VPC_MISMATCH,
        Cause.PREFLIGHT_FAILED,
        Cause.PREFLIGHT_NO_ROUTE,
        Cause.PREFLIGHT_REFUSED,
        Cause.PREFLIGHT_TIMED_OUT,
        Cause.ARTIFACTS_MISSING,
        Cause.UPLOAD_DENIED,
        Cause.KMS_DENIED,
        Cause.AWS_DENIED,
        Cause.CREDENTIALS_MISSING,
        Cause.CREDENTIALS_EXPIRED,
        Cause.PROJECT_INVALID,
    }
)
"""Causes that somebody has to mend in the pipeline, the project or a policy: the source needs no change."""


def refusal(error: BuildspecdError) -> Failure:
    """Return what is told of a job that can be no build."""
    hint = f" ({error.hint})" if error.hint else ""
    return Failure(type="ConfigurationError", message=_cut(f"{error.message}{hint}", MESSAGE))


def lost(build: str) -> Failure:
    """Return what is told of a job whose build is not there any more."""
    message = f"the record of build {build} is gone from the agent"
    return Failure(type="SystemUnavailable", message=message, execution=build)


def outcome(build: Build, link: str | None) -> Success | Failure:
    """Return what CodePipeline is told of a build that has ended; *link* leads to its log."""
    if build.status is not Status.SUCCEEDED:
        return _failure(build, link)
    exported = {one.name: one.value for one in build.exported}
    variables = {name: value for name, value in exported.items() if _VARIABLE.fullmatch(name)}
    size = sum(len(name.encode()) + len(value.encode(errors="replace")) for name, value in variables.items())
    if size > VARIABLES_BYTES:
        return too_many_variables(build, size)
    odd = sorted(exported.keys() - variables.keys())
    left_out = f"; not output variables, for their names: {', '.join(odd)}" if odd else ""
    return Success(
        summary=_cut(f"build {build.number} of {build.project.name} succeeded{left_out}{_log(link)}", SUMMARY),
        execution=build.id,
        variables=variables,
    )


def too_many_variables(build: Build, size: int | None = None) -> Failure:
    """Return what is told of a green build whose exported variables CodePipeline does not take."""
    taken = f"take {size} bytes" if size else "take too much"
    message = f"build {build.number} succeeded, but its exported variables {taken}: {VARIABLES_BYTES} are possible"
    return Failure(type="ConfigurationError", message=message, execution=build.id)


def progress(build: Build, link: str | None, token: str) -> Success:
    """Return what hands a job back whose build is still running, to be handed out again with *token*."""
    summary = f"build {build.number} of {build.project.name} is in phase {build.current_phase.value}{_log(link)}"
    return Success(summary=_cut(summary, SUMMARY), execution=build.id, percent=50, token=token)


def _failure(build: Build, link: str | None) -> Failure:
    told = [f"build {build.number} of {build.project.name}: {build.status.value}"]
    told += [_phase(build), f"cause: {build.cause.value}" if build.cause else "", build.advice or ""]
    text = ". ".join(part.rstrip(". ") for part in told if part)
    log = _log(link)
    return Failure(type=_type(build), message=_cut(text, MESSAGE - len(log)) + log, execution=build.id)


def _phase(build: Build) -> str:
    """Return what the first phase that went wrong says."""
    bad = next((one for one in build.phases if one.phase_status not in (None, Status.SUCCEEDED)), None)
    if bad is None:
        return build.stop_reason or ""
    said = [f"{item.status_code}: {item.message}" if item.status_code else item.message for item in bad.contexts]
    return f"{bad.phase_type.value}: {'; '.join(text for text in said if text) or build.stop_reason or 'failed'}"


def _type(build: Build) -> str:
    if build.cause in _CONFIGURATION:
        return "ConfigurationError"
    return "SystemUnavailable" if build.status is Status.FAULT else "JobFailed"


def _log(link: str | None) -> str:
    return f"; log: {link}" if link else ""


def _cut(text: str, most: int) -> str:
    clean = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."
