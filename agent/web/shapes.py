"""Shapes: our values in the words of the CodeBuild API, and its StartBuild as a BuildRequest. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agent.errors import RequestInvalid
from agent.model.build import ArtifactRecord, Build
from agent.model.location import without_login
from agent.model.phase import Phase, PhaseType
from agent.model.project import Artifacts, Environment, EnvironmentVariable, Project, Source
from agent.model.request import BuildRequest
from agent.web.consoles import logs_location

_OVERRIDES: dict[str, type | tuple[type, ...]] = {
    "secondarySourcesOverride": list,
    "secondarySourcesVersionOverride": list,
    "artifactsOverride": dict,
    "secondaryArtifactsOverride": list,
    "environmentVariablesOverride": list,
    "sourceTypeOverride": str,
    "sourceLocationOverride": str,
    "sourceAuthOverride": dict,
    "gitCloneDepthOverride": int,
    "gitSubmodulesConfigOverride": dict,
    "buildspecOverride": str,
    "insecureSslOverride": bool,
    "reportBuildStatusOverride": bool,
    "buildStatusConfigOverride": dict,
    "environmentTypeOverride": str,
    "imageOverride": str,
    "computeTypeOverride": str,
    "certificateOverride": str,
    "cacheOverride": dict,
    "serviceRoleOverride": str,
    "privilegedModeOverride": bool,
    "timeoutInMinutesOverride": (int, float),
    "queuedTimeoutInMinutesOverride": (int, float),
    "encryptionKeyOverride": str,
    "logsConfigOverride": dict,
    "registryCredentialOverride": dict,
    "imagePullCredentialsTypeOverride": str,
    "debugSessionEnabled": bool,
    "fleetOverride": dict,
    "autoRetryLimitOverride": int,
    "hostKernelOverride": str,
}
"""The members of StartBuild that change the build, and the JSON type of each (service.md 5.4)."""

_WORDS = {list: "a list", dict: "an object", str: "a string", int: "an integer", bool: "true or false"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_]{1,149}")


def build_json(build: Build) -> dict[str, Any]:
    """Return the build as `BatchGetBuilds` shows it (service.md 4.1); what only we know is under `buildspecd`.

    Times are epoch seconds; absent members are left out.
    """
    project = build.project
    document = {
        "id": build.id,
        "arn": build.arn,
        "buildNumber": build.number,
        "startTime": _time(build.start_time),
        "endTime": _time(build.end_time),
        "currentPhase": build.current_phase.value,
        "buildStatus": build.status.value,
        "sourceVersion": build.source_version,
        "resolvedSourceVersion": build.resolved_source_version,
        "projectName": project.name,
        "phases": [_phase(phase) for phase in build.phases],
        **_sources(project),
        "artifacts": _artifact(project.artifacts, build.artifacts),
        "secondaryArtifacts": _secondary_artifacts(build),
        "cache": _cache(project),
        "environment": _environment(project.environment, build.overrides),
        "serviceRole": project.service_role,
        "logs": logs_location(build),
        "timeoutInMinutes": math.ceil(project.timeout_in_minutes),
        "queuedTimeoutInMinutes": math.ceil(project.queued_timeout_in_minutes),
        "buildComplete": build.complete,
        "initiator": build.initiator,
        "vpcConfig": project.vpc_config and project.vpc_config.wire(),
        "networkInterface": build.network_interface and build.network_interface.wire(),
        "encryptionKey": project.encryption_key or default_key(build.arn),
        "exportedEnvironmentVariables": [variable.wire() for variable in build.exported],
        "reportArns": list(build.report_arns),
        "fileSystemLocations": [system.wire() for system in project.file_system_locations],
        "autoRetryConfig": _auto_retry(build),
        "debugSession": _debug_session(build),
        "buildspecd": _ours(build),
    }
    return _present(document)


def project_json(project: Project, arn: str, modified: float | None = None) -> dict[str, Any]:
    """Return the project as `BatchGetProjects` shows it (service.md 1.2); the webhook's secret is left out.

    *modified* is the time of its file in epoch seconds; what stands under `agent:` is under `buildspecd`.
    """
    document = {
        "name": project.name,
        "arn": arn,
        "description": project.description,
        **_sources(project),
        "sourceVersion": project.source_version,
        "artifacts": project.artifacts.wire(),
        "secondaryArtifacts": [artifacts.wire() for artifacts in project.secondary_artifacts],
        "cache": _cache(project),
        "environment": _environment(project.environment),
        "serviceRole": project.service_role,
        "timeoutInMinutes": math.ceil(project.timeout_in_minutes),
        "queuedTimeoutInMinutes": math.ceil(project.queued_timeout_in_minutes),
        "encryptionKey": project.encryption_key or default_key(arn),
        "tags": [tag.wire() for tag in project.tags],
        "created": modified,
        "lastModified": modified,
        "webhook": project.webhook and _without(project.webhook.wire(), "secret"),
        "vpcConfig": project.vpc_config and project.vpc_config.wire(),
        "badge": {"badgeEnabled": project.badge_enabled},
        "logsConfig": project.logs_config.wire(),
        "fileSystemLocations": [system.wire() for system in project.file_system_locations],
        "concurrentBuildLimit": project.concurrent_build_limit,
        "projectVisibility": "PRIVATE",
        "autoRetryLimit": project.auto_retry_limit,
        "buildspecd": project.agent.wire(),
    }
    return _present(document)


def request_from(members: Mapping[str, Any], initiator: str) -> BuildRequest:
    """Return what the input of StartBuild asks for. `idempotencyToken` is the caller's business, and ignored here.

    Values are judged later, with the project at hand; here only names and JSON types. Raises `RequestInvalid`.
    """
    unknown = sorted(set(members) - set(_OVERRIDES) - {"projectName", "sourceVersion", "idempotencyToken"})
    if unknown:
        raise RequestInvalid(f"StartBuild does not know {', '.join(unknown)}")
    overrides = {name: value for name, value in members.items() if name in _OVERRIDES and value is not None}
    for name, value in overrides.items():
        _check_type(name, value, _OVERRIDES[name])
    version = members.get("sourceVersion")
    if version is not None:
        _check_type("sourceVersion", version, str)
    return BuildRequest(
        project=project_name(members.get("projectName")),
        source_version=version or None,
        initiator=initiator,
        overrides=overrides,
    )


def project_name(given: object) -> str:
    """Return the name of a project that is given by name or ARN (service.md 1.1). Raises `RequestInvalid`."""
    if not isinstance(given, str) or not given:
        raise RequestInvalid("projectName is required")
    name = given.rpartition(":project/")[2] if given.startswith("arn:") else given
    if not _NAME.fullmatch(name):
        raise RequestInvalid(
            f"{given!r} is not a project name: Only alphanumeric characters, dash, and underscore are supported"
        )
    return name


def default_key(arn: str) -> str:
    """Return the key that AWS reports where no key is set, for the partition, region and account of *arn*."""
    _, partition, _, region, account, *_ = (*arn.split(":"), "", "", "", "", "")
    return f"arn:{partition}:kms:{region}:{account}:alias/aws/s3"


def _check_type(name: str, value: object, wanted: type | tuple[type, ...]) -> None:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    # A bool is an int to Python, and not to the API.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise RequestInvalid(f"{name} must be {_WORDS[kinds[0]]}")


def _phase(phase: Phase) -> dict[str, Any]:
    """Return one entry of `phases` with the members that its station has (service.md 4.3)."""
    document: dict[str, Any] = {"phaseType": phase.phase_type.value, "startTime": _time(phase.start_time)}
    if phase.phase_type is PhaseType.COMPLETED or phase.end_time is None:
        return document
    if phase.phase_status is not None:
        document["phaseStatus"] = phase.phase_status.value
    document["endTime"] = _time(phase.end_time)
    document["durationInSeconds"] = phase.duration_in_seconds
    if phase.phase_type is not PhaseType.SUBMITTED:
        document["contexts"] = [context.wire() for context in phase.contexts]
    return document


def _sources(project: Project) -> dict[str, Any]:
    return {
        "source": _source(project.source),
        "secondarySources": [_source(source) for source in project.secondary_sources],
        "secondarySourceVersions": [version.wire() for version in project.secondary_source_versions],
    }


def _source(source: Source) -> dict[str, Any]:
    document = source.wire()
    if source.location:
        document["location"] = without_login(source.location)
    return document


def _artifact(wanted: Artifacts, made: ArtifactRecord | None) -> dict[str, Any]:
    """Return `BuildArtifacts`; before the upload it says where nothing is yet: an empty location."""
    settings = {
        "location": "",
        "overrideArtifactName": wanted.override_artifact_name,
        "encryptionDisabled": wanted.encryption_disabled,
        "artifactIdentifier": wanted.artifact_identifier,
        "bucketOwnerAccess": wanted.bucket_owner_access,
    }
    return {**_present(settings), **(_made(made) if made else {})}


def _made(record: ArtifactRecord) -> dict[str, Any]:
    """Return what an upload left behind; the API writes the names of the sums without a capital."""
    return _present(
        {
            "location": record.location,
            "sha256sum": record.sha256sum,
            "md5sum": record.md5sum,
            "overrideArtifactName": record.override_artifact_name,
            "encryptionDisabled": record.encryption_disabled,
            "artifactIdentifier": record.artifact_identifier,
        }
    )


def _secondary_artifacts(build: Build) -> list[dict[str, Any]]:
    made = {record.artifact_identifier: record for record in build.secondary_artifacts}
    wanted = [
        _artifact(artifacts, made.pop(artifacts.artifact_identifier, None))
        for artifacts in build.project.secondary_artifacts
    ]
    return wanted + [_made(record) for record in made.values()]


def _cache(project: Project) -> dict[str, Any]:
    document = project.cache.wire()
    return document if project.cache.modes else _without(document, "modes")


def _environment(environment: Environment, overrides: Iterable[EnvironmentVariable] = ()) -> dict[str, Any]:
    """Return the environment with the variables of the start request merged in by name.

    A variable from Parameter Store or Secrets Manager holds the reference, never what it refers to.
    """
    variables = {variable.name: variable for variable in (*environment.environment_variables, *overrides)}
    return {**environment.wire(), "environmentVariables": [variable.wire() for variable in variables.values()]}


def _auto_retry(build: Build) -> dict[str, Any] | None:
    limit, chain = build.project.auto_retry_limit, build.auto_retry
    if not limit:
        return None
    return _present(
        {
            "autoRetryLimit": limit,
            "autoRetryNumber": chain.number,
            "nextAutoRetry": chain.next,
            "previousAutoRetry": chain.previous,
        }
    )


def _debug_session(build: Build) -> dict[str, Any] | None:
    """Return `DebugSession` of a build that has one; `buildspecd shell` takes the target (service.md 4.7)."""
    if not build.project.agent.debug:
        return None
    return {"sessionEnabled": True, **({} if build.complete else {"sessionTarget": build.id})}


def _ours(build: Build) -> dict[str, Any]:
    return _present(
        {
            "steps": list(build.steps_done),
            "cache": _without(build.cache.wire(), "generation"),
            "logs": {
                "bytes": build.logs.bytes,
                "lines": build.logs.lines,
                "delivered": {sink: build.logs.held(sink)[0] for sink in build.logs.delivered},
                "deliveredLines": {sink: build.logs.held(sink)[1] for sink in build.logs.delivered},
                "gaps": [gap.wire() for gap in build.logs.gaps],
                "maybeTwice": [gap.wire() for gap in build.logs.maybe_twice],
                "problems": build.logs.problems,
            },
            "sourceRef": build.source_ref,
            "previousRevision": build.previous_revision,
            "passedOver": list(build.passed_over) or None,
            "retryOf": build.retry_of,
            "stopReason": build.stop_reason,
            "pausedSince": _time(build.paused_since),
            "timedOut": build.timed_out,
            "cause": build.cause and build.cause.value,
            "advice": build.advice,
            "waitsFor": build.waits_for,
            "workspace": build.kept_workspace,
            "reruns": build.reruns or None,
        }
    )


def _time(epoch: float | None) -> float | None:
    """Return epoch seconds with milliseconds, which is all that the API promises its clients (service.md 5.1)."""
    return None if epoch is None else round(epoch, 3)


def _present(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _without(document: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != member}
