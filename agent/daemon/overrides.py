"""Overrides: a project and the members of `StartBuild` become the effective project of one build. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.errors import RequestInvalid
from agent.model.project import EnvironmentVariable, Project
from agent.source.accounts import is_secret_arn
from agent.source.url import holds_password

_PLACES: dict[str, tuple[str, ...]] = {
    "secondarySourcesOverride": ("secondarySources",),
    "secondarySourcesVersionOverride": ("secondarySourceVersions",),
    "artifactsOverride": ("artifacts",),
    "secondaryArtifactsOverride": ("secondaryArtifacts",),
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "sourceAuthOverride": ("source", "auth"),
    "gitCloneDepthOverride": ("source", "gitCloneDepth"),
    "gitSubmodulesConfigOverride": ("source", "gitSubmodulesConfig"),
    "buildspecOverride": ("source", "buildspec"),
    "insecureSslOverride": ("source", "insecureSsl"),
    "reportBuildStatusOverride": ("source", "reportBuildStatus"),
    "buildStatusConfigOverride": ("source", "buildStatusConfig"),
    "environmentTypeOverride": ("environment", "type"),
    "imageOverride": ("environment", "image"),
    "computeTypeOverride": ("environment", "computeType"),
    "certificateOverride": ("environment", "certificate"),
    "privilegedModeOverride": ("environment", "privilegedMode"),
    "registryCredentialOverride": ("environment", "registryCredential"),
    "imagePullCredentialsTypeOverride": ("environment", "imagePullCredentialsType"),
    "fleetOverride": ("environment", "fleet"),
    "hostKernelOverride": ("environment", "hostKernel"),
    "cacheOverride": ("cache",),
    "serviceRoleOverride": ("serviceRole",),
    "timeoutInMinutesOverride": ("timeoutInMinutes",),
    "queuedTimeoutInMinutesOverride": ("queuedTimeoutInMinutes",),
    "encryptionKeyOverride": ("encryptionKey",),
    "logsConfigOverride": ("logsConfig",),
    "autoRetryLimitOverride": ("autoRetryLimit",),
    "debugSessionEnabled": ("agent", "debug"),
}
"""Member of `StartBuild` -> where it goes in the project (service.md 5.4)."""

_VARIABLES = TypeAdapter(tuple[EnvironmentVariable, ...])
_ELSEWHERE = frozenset({"environmentVariablesOverride", "agentOverride"})


def effective(project: Project, overrides: dict[str, Any]) -> Project:
    """Return the project that a build runs with. Raises `RequestInvalid`, naming what makes no sense."""
    unknown = sorted(set(overrides) - set(_PLACES) - _ELSEWHERE)
    if unknown:
        raise RequestInvalid(f"unknown members: {', '.join(unknown)}")
    _refuse_literals(overrides)
    document = project.wire()
    for member, place in _PLACES.items():
        if member in overrides:
            _put(document, place, overrides[member])
    if "agentOverride" in overrides:
        ours = overrides["agentOverride"]
        document["agent"] = {**document["agent"], **ours} if isinstance(ours, dict) else ours
    try:
        return Project.model_validate(document)
    except ValidationError as error:
        raise RequestInvalid(_explained(error)) from error


def variables(overrides: dict[str, Any]) -> tuple[EnvironmentVariable, ...]:
    """Return the variables of a start request; they win over the project's (buildspec.md 6.1)."""
    try:
        return _VARIABLES.validate_python(overrides.get("environmentVariablesOverride", ()))
    except ValidationError as error:
        raise RequestInvalid(_explained(error, "environmentVariablesOverride")) from error


def _refuse_literals(overrides: dict[str, Any]) -> None:
    """Refuse what would keep a token in the record of a build; it is not repeated in the message."""
    secondary = overrides.get("secondarySourcesOverride")
    sources = [one for one in secondary if isinstance(one, dict)] if isinstance(secondary, list | tuple) else []
    auths = [overrides.get("sourceAuthOverride"), *(source.get("auth") for source in sources)]
    for auth in auths:
        if not isinstance(auth, dict):
            continue
        resource = str(auth.get("resource") or "")
        if not (is_secret_arn(resource) if auth.get("type") == "SECRETS_MANAGER" else resource[:4] in ("", "arn:")):
            raise RequestInvalid(
                "sourceAuthOverride: resource must be the ARN of a secret",
                hint="store the token in Secrets Manager; see 'Sources and credentials' in the README",
            )
    for location in (overrides.get("sourceLocationOverride"), *(source.get("location") for source in sources)):
        if isinstance(location, str) and holds_password(location):
            raise RequestInvalid(
                "sourceLocationOverride: the address holds a password, which would be stored with the build",
                hint="name the credential in `credentials` of agent.yml, or in sourceAuthOverride",
            )


def _put(document: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    *outer, last = place
    for name in outer:
        document = document.setdefault(name, {})
    document[last] = value


def _explained(error: ValidationError, *where: str) -> str:
    """Return every mistake with its place, and without the value, which may be a secret."""
    return "; ".join(f"{'.'.join(map(str, (*where, *item['loc'])))}: {item['msg']}" for item in error.errors())
