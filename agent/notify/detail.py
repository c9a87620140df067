"""Detail: a BuildEvent in the words of CodeBuild's own EventBridge events (service.md 6.1 and 6.2). Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from agent.model.build import ArtifactRecord, Build, NetworkInterface
from agent.model.event import BuildEvent
from agent.model.location import without_login
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.project import EnvironmentVariable, FileSystem, Project, Source, VpcConfig

REDACTED = "***"
STATE_CHANGE = "CodeBuild Build State Change"
PHASE_CHANGE = "CodeBuild Build Phase Change"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_INLINE = re.compile(r"[\n{]|:\s")
"""What a buildspec's text has, and neither a path nor an ARN (service.md 1.3.1)."""
_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


def detail_type(event: BuildEvent) -> str:
    """Return CodeBuild's detail-type of an event."""
    return STATE_CHANGE if event.kind == "state" else PHASE_CHANGE


def detail(event: BuildEvent, *, redact: bool = True) -> dict[str, Any]:
    """Return the JSON object `detail` of an event.

    With *redact*, the values of PLAINTEXT and exported variables are stars, and so is an inline buildspec, which may
    hold such values. Parameter Store and Secrets Manager variables always show the name of what they refer to.
    """
    build = event.build
    return {
        **(_state(build) if event.kind == "state" else _phase_end(event)),
        "project-name": build.project.name,
        "build-id": build.arn,
        "additional-information": _additional(build, redact=redact),
        "version": "1",
    }


def date_text(at: float) -> str:
    """Return epoch seconds as CodeBuild writes them: `Sep 1, 2017 4:12:29 PM`, in UTC."""
    day = datetime.fromtimestamp(math.floor(at), UTC)
    half = "AM" if day.hour < 12 else "PM"
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year} {day.hour % 12 or 12}:{day:%M:%S} {half}"


def _state(build: Build) -> dict[str, Any]:
    """Return the members of a start or an end; a build that has just been submitted waits in QUEUED already."""
    current = build.current_phase if build.complete else PhaseType.SUBMITTED
    phase = build.phase(current)
    return {
        "build-status": build.status.value,
        "current-phase": current.value,
        "current-phase-context": _context_text(phase.contexts if phase else ()),
    }


def _phase_end(event: BuildEvent) -> dict[str, Any]:
    build = event.build
    phase = build.phase(event.completed_phase or build.current_phase) or build.phases[-1]
    end = event.at if phase.end_time is None else phase.end_time
    return {
        "completed-phase": phase.phase_type.value,
        "completed-phase-status": (phase.phase_status or build.status).value,
        "completed-phase-context": _context_text(phase.contexts),
        "completed-phase-duration-seconds": phase.duration_in_seconds or 0,
        "completed-phase-start": date_text(phase.start_time),
        "completed-phase-end": date_text(end),
    }


def _additional(build: Build, *, redact: bool) -> dict[str, Any]:
    project = build.project
    document = {
        "artifact": _artifact(build.artifacts or ArtifactRecord()),
        "secondary-artifacts": [_artifact(artifact) for artifact in build.secondary_artifacts] or None,
        "cache": {"type": project.cache.type},
        "build-number": build.number,
        "timeout-in-minutes": math.ceil(project.timeout_in_minutes),
        "queued-timeout-in-minutes": math.ceil(project.queued_timeout_in_minutes),
        "build-complete": build.complete,
        "initiator": build.initiator,
        "build-start-time": date_text(build.start_time),
        "source": _source(project.source, redact=redact),
        "secondary-sources": [_source(source, redact=redact) for source in project.secondary_sources] or None,
        "source-version": build.source_version,
        "secondary-source-versions": [
            {"source-identifier": version.source_identifier, "source-version": version.source_version}
            for version in project.secondary_source_versions
        ]
        or None,
        "environment": _environment(project, build.overrides, redact=redact),
        "exported-environment-variables": [
            {"name": variable.name, "value": REDACTED if redact else variable.value} for variable in build.exported
        ]
        or None,
        "logs": _logs(build),
        "vpc-config": project.vpc_config and _vpc(project.vpc_config),
        "network-interface": build.network_interface and _interface(build.network_interface),
        "project-file-system-locations": [_file_system(system) for system in project.file_system_locations],
        "phases": [_phase(phase) for phase in build.phases],
    }
    return _present(document)


def _artifact(artifact: ArtifactRecord) -> dict[str, Any]:
    return _present(
        {
            "artifact-identifier": artifact.artifact_identifier,
            "location": artifact.location or "",
            "md5sum": artifact.md5sum,
            "sha256sum": artifact.sha256sum,
        }
    )


def _source(source: Source, *, redact: bool) -> dict[str, Any]:
    inline = source.buildspec is not None and _INLINE.search(source.buildspec)
    return _present(
        {
            "source-identifier": source.source_identifier,
            "type": source.type,
            "location": source.location and without_login(source.location),
            "buildspec": REDACTED if inline and redact else source.buildspec,
        }
    )


def _environment(project: Project, overrides: Iterable[EnvironmentVariable], *, redact: bool) -> dict[str, Any]:
    environment = project.environment
    variables = {variable.name: variable for variable in (*environment.environment_variables, *overrides)}
    return {
        "image": environment.image,
        "privileged-mode": environment.privileged_mode,
        "image-pull-credentials-type": environment.image_pull_credentials_type or "CODEBUILD",
        "compute-type": environment.compute_type,
        "type": environment.type,
        "environment-variables": [_variable(variable, redact=redact) for variable in variables.values()],
    }


def _variable(variable: EnvironmentVariable, *, redact: bool) -> dict[str, str]:
    hidden = redact and variable.type == "PLAINTEXT"
    return {"name": variable.name, "type": variable.type, "value": REDACTED if hidden else variable.value}


def _logs(build: Build) -> dict[str, Any]:
    """Return where the log is in CloudWatch; before the stream exists AWS writes the word `null` (service.md 4.5)."""
    group, stream = build.logs.group_name, build.logs.stream_name
    asked = build.project.logs_config.cloud_watch_logs
    if not (group and stream):
        if build.complete or (asked and asked.status == "DISABLED"):
            return {}
        return {"deep-link": _deep_link(build, "null", "null")}
    return {"group-name": group, "stream-name": stream, "deep-link": deep_link(build)}


def deep_link(build: Build) -> str | None:
    """Return where a person reads the log of *build* in CloudWatch; None while, or where, there is none."""
    group, stream = build.logs.group_name, build.logs.stream_name
    return _deep_link(build, group, stream) if group and stream else None


def _deep_link(build: Build, group: str, stream: str) -> str:
    _, partition, _, region, *_ = (*build.arn.split(":"), "", "", "")
    page = f"https://{_CONSOLES.get(partition, 'console.aws.amazon.com')}/cloudwatch/home?region={region}"
    return f"{page}#logsV2:log-groups/log-group/{_twice(group)}/log-events/{_twice(stream)}"


def _twice(name: str) -> str:
    return quote(quote(name, safe=""), safe="").replace("%", "$")


def _vpc(config: VpcConfig) -> dict[str, Any]:
    return _present(
        {
            "vpc-id": config.vpc_id,
            "subnets": [{"subnet-id": subnet} for subnet in config.subnets],
            "security-group-ids": list(config.security_group_ids),
        }
    )


def _interface(interface: NetworkInterface) -> dict[str, str]:
    return {"subnet-id": interface.subnet_id, "network-interface-id": interface.network_interface_id}


def _file_system(system: FileSystem) -> dict[str, Any]:
    return _present(
        {
            "type": system.type,
            "location": system.location,
            "mount-point": system.mount_point,
            "identifier": system.identifier,
            "mount-options": system.mount_options,
        }
    )


def _phase(phase: Phase) -> dict[str, Any]:
    """Return one entry of `phases`; the running one and COMPLETED have no end (service.md 4.3)."""
    document: dict[str, Any] = {"phase-type": phase.phase_type.value, "start-time": date_text(phase.start_time)}
    if phase.end_time is None or phase.phase_type is PhaseType.COMPLETED:
        return document
    return {
        **document,
        "phase-status": phase.phase_status and phase.phase_status.value,
        "end-time": date_text(phase.end_time),
        "duration-in-seconds": phase.duration_in_seconds,
        "phase-context": _contexts(phase.contexts),
    }


def _contexts(contexts: Iterable[PhaseContext]) -> list[str]:
    """Return `CODE: message` of each context; an empty one, which every good phase has, is left out."""
    return [str(context) for context in contexts if context.status_code or context.message]


def _context_text(contexts: Iterable[PhaseContext]) -> str:
    return f"[{', '.join(_contexts(contexts))}]"


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
