"""Places: where the sources of a build lie, on the host and in the container, and where its buildspec is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.buildspec.location import INLINE_LOCATION, buildspec_missing, classify
from agent.errors import BuildspecInvalid
from agent.kit.tree import Inside, Tree
from agent.model.build import Build
from agent.model.cause import Cause
from agent.source.layout import ROOT as MOUNTED
from agent.source.layout import source_paths

if TYPE_CHECKING:
    from agent.pipeline.job import Job

__all__ = ["MOUNTED", "Place", "read_buildspec", "source_dirs", "source_tree"]

_LIMIT = 8 << 20


@dataclass(frozen=True)
class Place:
    """One source directory: its path in the container, and where that lies below the workspace."""

    container: str
    below: str


def source_dirs(build: Build) -> Mapping[str | None, Place]:
    """Return the place of every source by its identifier, the primary under None."""
    found = source_paths(build.project.source, build.project.secondary_sources)
    return {
        name: Place(f"{build.source_root}/{path}", path.removeprefix(MOUNTED).strip("/"))
        for name, path in found.items()
    }


def source_tree(job: Job) -> Tree:
    """Return the workspace as a tree whose relative paths start at the primary source directory."""
    primary = source_dirs(job.build)[None]
    return Tree(job.paths.workspace, f"{job.build.source_root}/{MOUNTED}", primary.below)


def read_buildspec(job: Job) -> tuple[bytes, str, str]:
    """Return the buildspec's text, its name for messages, and its location in the container (buildspec.md 1.1)."""
    kind, value = classify(job.build.project.source.buildspec)
    if kind == "inline":
        return value.encode(), "buildspec", INLINE_LOCATION
    if kind == "s3":
        return _from_store(job, value), value, INLINE_LOCATION
    if job.build.project.source.type == "NO_SOURCE":
        raise BuildspecInvalid(
            "a project without a source needs its buildspec inline",
            hint="set source.buildspec of the project",
            cause=Cause.BUILDSPEC_MISSING,
        )
    location = os.path.normpath(f"{source_dirs(job.build)[None].container}/{value}")
    text = _from_tree(source_tree(job), value)
    if text is None:
        raise buildspec_missing(location, default=kind == "default")
    return text, value, location


def _from_tree(tree: Tree, path: str) -> bytes | None:
    found = tree.resolve(path)
    handle = tree.open(found.name) if isinstance(found, Inside) else None
    if handle is None:
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(_LIMIT)


def _from_store(job: Job, arn: str) -> bytes:
    bucket, _, key = arn.partition(":::")[2].partition("/")
    aside = job.paths.scratch / "buildspec.yml"
    if job.tools.open_store(bucket).get(key, aside) is None:
        raise BuildspecInvalid(
            f"{arn} does not exist", hint="check source.buildspec of the project", cause=Cause.BUILDSPEC_MISSING
        )
    text = aside.read_bytes()[:_LIMIT]
    aside.unlink()
    return text
