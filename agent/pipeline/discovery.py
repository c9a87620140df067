"""Discovery: result files that nobody named, found in the source tree within a few seconds (buildspec.md 12.3)."""

from __future__ import annotations

import codecs
import os
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass

from agent.kit.globs import Globs, has_wildcard, tidy
from agent.kit.tree import Tree
from agent.reports.recognise import HEAD_BYTES

LIMIT_SECONDS = 5.0
EVERYWHERE = "**/*"
GLANCE_BYTES = 4096
"""What is read of a file at first; a tree may hold thousands of `package.json`."""
_SUFFIXES = (".xml", ".json", ".trx")
"""Every format that is known is in a file of such a name, so that others need not be opened."""
_NEVER = frozenset({".git", "node_modules"})
"""Directories whose files no test run has written; they can be most of a tree."""

Recognise = Callable[[str, bytes], str | None]
"""Given the name and the beginning of a file: the name of its format, None when it is no result file."""


@dataclass(frozen=True)
class Discovered:
    """What was found: (name relative to the source directory, format), sorted; names that could not be read."""

    files: tuple[tuple[str, str], ...]
    unreadable: tuple[str, ...] = ()


def wanted(expanded: str | None) -> str | None:
    """Return the pattern that is searched, or None for no search.

    *expanded* holds the values of CODEBUILD_CONFIG_AUTO_DISCOVER and CODEBUILD_CONFIG_AUTO_DISCOVER_DIR with a colon
    in between, None where they are not known. Pure.
    """
    switch, _, pattern = (expanded or "").partition(":")
    return None if switch.strip().lower() == "false" else pattern.strip() or EVERYWHERE


def discover(tree: Tree, pattern: str, recognise: Recognise, now: Callable[[], float]) -> Discovered:
    """Search the source directory of *tree* until LIMIT_SECONDS of *now* (seconds) have passed; never raises."""
    globs = _globs(pattern)
    if globs is None:
        return Discovered(())
    end = now() + LIMIT_SECONDS
    found: list[tuple[str, str]] = []
    unreadable: list[str] = []
    for name, _, facts in tree.walk(tree.start, globs, None, lambda word: word not in _NEVER and now() < end):
        if not name.lower().endswith(_SUFFIXES) or not stat.S_ISREG(facts.st_mode) or not facts.st_size:
            continue
        if now() >= end:
            break
        try:
            kind = _format(tree, name, recognise)
        except OSError:
            unreadable.append(name)
            continue
        if kind:
            found.append((name, kind))
    return Discovered(tuple(sorted(found)), tuple(sorted(unreadable)))


def _globs(pattern: str) -> Globs | None:
    """Return what is searched for; a directory without wildcard means all that is below it. None: nothing can match."""
    text = tidy(pattern).rstrip("/")
    try:
        return Globs([text] if has_wildcard(text) else [text, f"{text}/{EVERYWHERE}"] if text else [EVERYWHERE])
    except ValueError:
        return None


def _format(tree: Tree, name: str, recognise: Recognise) -> str | None:
    """Return the format of a file by its first bytes; more than a glance only where more may tell. Raises `OSError`."""
    handle = tree.open(posixpath.join(tree.start, name))
    if handle is None:
        return None
    try:
        head = os.pread(handle, GLANCE_BYTES, 0)
        kind = recognise(name, head)
        if kind or len(head) < GLANCE_BYTES or (name.lower().endswith(".json") and not _is_list(head)):
            return kind
        return recognise(name, os.pread(handle, HEAD_BYTES, 0))
    finally:
        os.close(handle)


def _is_list(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
