"""Globs: CodeBuild's file patterns, matched while a tree is walked (buildspec.md 10.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from wcmatch import fnmatch

_FLAGS: Final = fnmatch.DOTMATCH | fnmatch.CASE | fnmatch.FORCEUNIX
_SPECIAL: Final = re.compile(r"[*?\[\\]")

_ANY_DEPTH: Final = "**"
_Part = str | Callable[[str], object] | None
"""One component: literal text, a predicate, or None for `*`, which every name satisfies."""


def has_wildcard(text: str) -> bool:
    """Whether *text* holds `*`, `?`, `[` or a backslash, so that it is more than a name."""
    return _SPECIAL.search(text) is not None


def tidy(pattern: str) -> str:
    """Return *pattern* without empty and `.` components; `..` goes up lexically, a leading `/` stays.

    A trailing slash stays, too: it asks for a directory, and no directory itself is ever matched.
    """
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == ".." and parts and parts[-1] not in ("..", _ANY_DEPTH):
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and pattern.startswith("/")):
            parts.append(part)
    text = "/".join(parts)
    if pattern.startswith("/"):
        text = "/" + text
    return text + "/" if pattern.endswith("/") and parts else text


def static_prefix(pattern: str) -> tuple[str, str]:
    """Split a tidy *pattern* before its first component with a wildcard: `a/b/*.c` -> (`a/b`, `*.c`).

    The second part is empty when there is no wildcard at all.
    """
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if has_wildcard(part):
            return "/".join(parts[:index]) or ("/" if pattern.startswith("/") else ""), "/".join(parts[index:])
    return pattern, ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, cut into components; `**` is kept as text."""

    parts: tuple[_Part, ...]
    depth: frozenset[int]
    """Indices of the `**` components."""


def _compile(pattern: str) -> Pattern:
    parts: list[_Part] = []
    depth: set[int] = set()
    for word in pattern.split("/"):
        if word == _ANY_DEPTH:
            if parts and len(parts) - 1 in depth:
                continue
            depth.add(len(parts))
            parts.append(_ANY_DEPTH)
        elif word == "*":
            parts.append(None)
        elif has_wildcard(word):
            parts.append(_predicate(word))
        else:
            parts.append(word)
    return Pattern(tuple(parts), frozenset(depth))


def _predicate(word: str) -> Callable[[str], object]:
    texts, _ = fnmatch.translate(word, flags=_FLAGS)
    return re.compile(texts[0]).fullmatch


@dataclass(slots=True)
class Position:
    """What may still match below one directory. Positions are shared: equal ones are one object."""

    every_file: int = 0
    """Bits of the patterns that match any file here."""
    every_directory: Position | None = None
    """Where any directory leads, when that does not depend on its name."""
    by_name: bool = False
    """Whether some component has to look at the name."""
    literal: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    tested: list[tuple[Callable[[str], object], int, int]] = field(default_factory=list)
    always: tuple[tuple[int, int], ...] = ()
    globs: Globs | None = None

    def file(self, name: str) -> int:
        """Return the bits of the patterns that match a file called *name* here; bit i is pattern i."""
        if not self.by_name:
            return self.every_file
        mask = self.every_file
        for index, at in self._candidates(name):
            if self._is_last(index, at):
                mask |= 1 << index
        return mask

    def directory(self, name: str) -> Position | None:
        """Return what may match below the directory *name*, or None when nothing can."""
        if not self.by_name:
            return self.every_directory
        found = set(self.always)
        found.update((index, at + 1) for index, at in self._candidates(name) if not self._is_last(index, at))
        return self.globs.position(found) if found and self.globs else None

    def _candidates(self, name: str) -> Iterable[tuple[int, int]]:
        yield from self.literal.get(name, ())
        for test, index, at in self.tested:
            if test(name):
                yield index, at

    def _is_last(self, index: int, at: int) -> bool:
        return self.globs is not None and at == len(self.globs.compiled[index].parts) - 1


class Globs:
    """A set of patterns relative to one directory, matched together in a single walk.

    `*` stays within one component and takes dot files; `**` is any number of components, none included; `?` and
    `[...]` are POSIX; braces are literal; a leading `./` means nothing. Not safe to share between threads.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self.compiled = tuple(_compile(_relative(pattern)) for pattern in self.patterns)
        self._positions: dict[frozenset[tuple[int, int]], Position] = {}
        self.top = self.position({(index, 0) for index in range(len(self.compiled))})

    def matches(self, name: str) -> int:
        """Return the bits of the patterns that match the file with the relative *name*; 0: none."""
        above, _, last = name.rpartition("/")
        position = self.reach(above) if above else self.top
        return position.file(last) if position else 0

    def reach(self, name: str) -> Position | None:
        """Return what may match below the directory with the relative *name*, or None when nothing can."""
        position: Position | None = self.top
        for directory in name.split("/"):
            position = position.directory(directory) if position else None
        return position

    def position(self, places: Iterable[tuple[int, int]]) -> Position:
        """Return the one `Position` for (pattern, component) *places*; `**` also stands for no component."""
        closed = set(places)
        for index, at in tuple(closed):
            pattern = self.compiled[index]
            while at in pattern.depth and at + 1 < len(pattern.parts):
                at += 1
                closed.add((index, at))
        key = frozenset(closed)
        if key not in self._positions:
            position = self._positions[key] = Position()
            self._fill(position, sorted(closed))
        return self._positions[key]

    def _fill(self, position: Position, places: Sequence[tuple[int, int]]) -> None:
        onwards: set[tuple[int, int]] = set()
        for index, at in places:
            pattern = self.compiled[index]
            part, last = pattern.parts[at], at == len(pattern.parts) - 1
            if at in pattern.depth:
                onwards.add((index, at))
            if part is None or at in pattern.depth:
                if last:
                    position.every_file |= 1 << index
                elif part is None:
                    onwards.add((index, at + 1))
            elif isinstance(part, str):
                position.literal.setdefault(part, []).append((index, at))
            else:
                position.tested.append((part, index, at))
        position.by_name = bool(position.literal or position.tested)
        position.always = tuple(sorted(onwards))
        position.globs = self
        if onwards and not position.by_name:
            position.every_directory = self.position(onwards)


def _relative(pattern: str) -> str:
    word = tidy(pattern)
    if word.startswith(("/", "../")) or word == "..":
        raise ValueError(f"not a relative pattern: {pattern!r}")
    return word
