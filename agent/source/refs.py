"""Refs of a git directory on this machine, read without starting a process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.kit.files import read_regular

_SHA = re.compile(r"[0-9a-f]{40}")
_PACKED_LIMIT = 256 << 20
_DEEPEST = 32


def git_dir(path: Path) -> Path | None:
    """Return the directory that holds HEAD of the repository at *path*: itself if bare, or its `.git`."""
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return path
    inner = path / ".git"
    if inner.is_dir():
        return inner if (inner / "HEAD").is_file() else None
    pointer = read_regular(inner, 4096) or b""
    if pointer.startswith(b"gitdir: "):
        target = path / os.fsdecode(pointer[8:].strip())
        return target if (target / "HEAD").is_file() else None
    return None


def common_dir(directory: Path) -> Path:
    """Return where the refs and objects of a git directory are: another place for a linked work tree."""
    pointer = read_regular(directory / "commondir", 4096)
    return Path(os.path.normpath(directory / os.fsdecode(pointer.strip()))) if pointer else directory


def is_readable(directory: Path) -> bool:
    """Whether the repository keeps its refs in files (git's `reftable` format is left to git)."""
    common = common_dir(directory)
    return (common / "refs").is_dir() and not (common / "reftable").exists()


def read_refs(directory: Path, prefixes: tuple[str, ...] = ("refs/heads/", "refs/tags/")) -> dict[str, str]:
    """Return full name -> commit or tag object for every ref below *prefixes*; a prefix may be a full name.

    Loose files are read before `packed-refs`, so that a ref that git packs meanwhile is not missed.
    """
    common = common_dir(directory)
    loose: dict[str, str] = {}
    for prefix in prefixes:
        for name in _loose_names(common, prefix.rstrip("/")):
            if value := _resolve(common, name):
                loose[name] = value
    packed = {name: sha for name, sha in _packed(common) if name.startswith(prefixes)}
    return packed | loose


def read_ref(directory: Path, name: str) -> str | None:
    """Return what one ref points to, or None."""
    return read_refs(directory, (name,)).get(name)


def read_head(directory: Path) -> tuple[str | None, str | None]:
    """Return the branch that HEAD names (full ref, None when detached) and its commit (None when unborn)."""
    content = _first_line(directory / "HEAD")
    if not content.startswith("ref: "):
        return None, content if _SHA.fullmatch(content) else None
    name = content[5:].strip()
    return name, read_ref(directory, name) if _is_inside(name) else None


def _loose_names(common: Path, name: str, depth: int = 0) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(common / name), key=lambda entry: entry.name)
    except NotADirectoryError:
        yield name
        return
    except OSError:
        return
    for entry in entries:
        below = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEEPEST:
                yield from _loose_names(common, below, depth + 1)
        elif not entry.name.endswith(".lock"):
            yield below


def _resolve(common: Path, name: str, hops: int = 5) -> str | None:
    content = _first_line(common / name)
    if _SHA.fullmatch(content):
        return content
    if content.startswith("ref: ") and hops:
        target = content[5:].strip()
        if not _is_inside(target):
            return None
        return _resolve(common, target, hops - 1) or dict(_packed(common)).get(target)
    return None


def _is_inside(name: str) -> bool:
    return name.startswith("refs/") and ".." not in name.split("/")


def _first_line(path: Path) -> str:
    content = read_regular(path, 4096) or b""
    return content.split(b"\n", 1)[0].decode(errors="surrogateescape").strip()


def _packed(common: Path) -> Iterator[tuple[str, str]]:
    content = read_regular(common / "packed-refs", _PACKED_LIMIT) or b""
    for line in content.decode(errors="surrogateescape").split("\n"):
        if len(line) > 41 and line[40] == " ":
            yield line[41:], line[:40]
