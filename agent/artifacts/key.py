"""Key: where an artifact lies in its bucket (buildspec.md 10.3, 10.4; service.md 1.5). Pure."""

from __future__ import annotations

from agent.errors import UserError
from agent.model.project import Artifacts


def artifact_name(settings: Artifacts, project: str, override: str | None) -> str:
    """Return the effective name. *override* is the evaluated `artifacts.name` of the buildspec, None without one.

    It counts only with `overrideArtifactName`. Else the project's own setting holds, the identifier of a secondary
    artifact, or the project's name.
    """
    if settings.override_artifact_name and override is not None:
        if not override.strip():
            raise UserError("the name of the artifact is empty", hint="look at artifacts.name, and the variables in it")
        return override.strip()
    return settings.name or settings.artifact_identifier or project


def artifact_key(
    settings: Artifacts, *, project: str, build_uuid: str, override: str | None = None, s3_prefix: str | None = None
) -> str:
    """Return the key of a ZIP, or the folder of files ("" is the root of the bucket).

    Path, build id (only the uuid) and name, joined by `/`; empty parts and their slashes vanish; no `.zip` is
    appended. *s3_prefix* replaces `path`, with `namespaceType` BUILD_ID only. Raises `UserError` on `.` and `..`,
    and when a ZIP would have no name.
    """
    with_id = settings.namespace_type == "BUILD_ID"
    path = s3_prefix if with_id and s3_prefix else settings.path
    parts = [path, build_uuid if with_id else "", artifact_name(settings, project, override)]
    words = [word for part in parts for word in part.split("/") if word]
    if any(word in (".", "..") for word in words):
        raise UserError(
            f"the artifact's key would be {'/'.join(words)!r}", hint="path, name and s3-prefix may not hold . or .."
        )
    if settings.packaging == "ZIP" and not "".join(artifact_name(settings, project, override).split("/")):
        raise UserError(
            "a ZIP needs a name of its own, and the artifact's name is '/'", hint="set artifacts.name of the project"
        )
    return "/".join(words)
