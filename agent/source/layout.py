"""Layout: where each source of a build lies below its root (buildspec.md 7.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from agent.errors import SourceRefused
from agent.model.project import GIT_TYPES, Source
from agent.source import url

ROOT = "src"
_UNSAFE = re.compile(r"[^A-Za-z0-9._~+@-]")


def source_path(source: Source) -> str:
    """Return the path of a build's only source, relative to the root: `src`, or `src/<host>/<path>` for git hosts."""
    return "/".join((ROOT, *_place(source)))


def source_paths(primary: Source, secondary: Sequence[Source]) -> dict[str | None, str]:
    """Return the path of every source by its identifier, the primary under None. No path lies within another.

    A source without a git host (S3, a directory, none at all) gets `src` when it is alone, and `src/s3/00`,
    `src/s3/01` … when there are several, as under CodePipeline.
    """
    if not secondary:
        return {None: source_path(primary)}
    placed: dict[str | None, str] = {}
    hostless = 0
    for identifier, source in ((None, primary), *((one.source_identifier, one) for one in secondary)):
        parts = _place(source)
        if not parts:
            parts = ("s3", f"{hostless:02}")
            hostless += 1
        path = "/".join((ROOT, *parts))
        if any(_overlap(path, other) for other in placed.values()):
            path = "/".join((ROOT, f"{parts[0]}_{identifier}", *parts[1:]))
        placed[identifier] = path
    return placed


def _overlap(one: str, other: str) -> bool:
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _place(source: Source) -> tuple[str, ...]:
    if source.type not in GIT_TYPES or not source.location:
        return ()
    try:
        address, _ = url.parse(source.location)
    except SourceRefused:
        return ()  # fetching it will say what is wrong
    if address.is_local:
        return ()
    parts = address.path.removesuffix("/").removesuffix(".git").split("/")
    clean = (_UNSAFE.sub("_", part) for part in (address.host, *parts))
    return tuple(part for part in clean if part.strip("."))
