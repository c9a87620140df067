"""Uploads: what is new about a source in S3, compared with what has been asked to build. Pure."""

from __future__ import annotations

import hashlib

from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.source.bucket import Standing
from agent.triggers import changes

_WHOLE = "object"
"""The one thing that is followed, where a repository has refs."""


def fixed_upload(project: Project) -> Standing | None:
    """Return what `sourceVersion` names: it is built once, and there is nothing to look at."""
    version = project.source_version
    return Standing(f"version:{version}", "", version) if version else None


def find_upload(project: Project, standing: Standing, stored: str | None) -> BuildRequest | None:
    """Return the request for what *standing* shows, unless *stored*, the cursor, says that it was made before.

    Its `dedupe_key` is the same whoever looks, and another one when the same bytes come back later.
    """
    seen = (changes.decode(stored) or {}).get(_WHOLE)
    if seen == standing.value:
        return None
    place = hashlib.sha256((project.source.location or "").encode()).hexdigest()[:16]
    return BuildRequest(
        project=project.name,
        source_version=standing.version,
        previous_revision=(seen or "").removeprefix("version:") or None if standing.version else None,
        initiator=changes.INITIATOR,
        dedupe_key=f"s3:{project.name}:{place}:{seen or '-'}..{standing.value}@{standing.stamp}",
    )


def seen_upload(standing: Standing) -> str:
    """Return the cursor once a build of *standing* has been asked for."""
    return changes.encode({_WHOLE: standing.value})
