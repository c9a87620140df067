"""Shelf: under which keys the caches of one project lie (buildspec.md 11.2, 11.3). Pure but for the store it names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from agent.objects.store import Encryption, ObjectStore

LAYOUT: Final = 1
"""Version of the archive; a number that another version does not read gets another key."""
_SUFFIX: Final = ".tar.zst"
_LONGEST: Final = 150
MOST_FALLBACKS: Final = 5


@dataclass(frozen=True)
class Shelf:
    """Where a project's caches are kept. `namespace` shares keyed caches between projects (`cacheNamespace`).

    Another `generation` makes every older cache of the project unknown (InvalidateProjectCache).
    """

    store: ObjectStore
    project: str
    namespace: str | None = None
    generation: int = 0
    encryption: Encryption = field(default_factory=Encryption)

    @property
    def only(self) -> str:
        """The key of the one cache that a project without cache keys has."""
        return f"projects/{_quoted(self.project)}/{self._layout}/cache{_SUFFIX}"

    def keyed(self, key: str, paths: Sequence[str]) -> str:
        """Return where the copy for exactly *key* and *paths* lies."""
        return f"{self._folder(paths)}{_quoted(key)}{_SUFFIX}"

    def newest(self, prefix: str, paths: Sequence[str]) -> str | None:
        """Return the newest stored copy for *paths* whose key starts with *prefix*, or None."""
        found = self.store.list(f"{self._folder(paths)}{_quoted(prefix).partition('~')[0]}")
        return next((stored.key for stored in found if stored.key.endswith(_SUFFIX)), None)

    def _folder(self, paths: Sequence[str]) -> str:
        """Copies made for other paths never match: the folder's name is a sum over them, the "cache version"."""
        version = hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        owner = f"shared/{_quoted(self.namespace)}" if self.namespace else f"projects/{_quoted(self.project)}"
        return f"{owner}/{self._layout}/{version}/"

    @property
    def _layout(self) -> str:
        return f"v{LAYOUT}" + (f"-g{self.generation}" if self.generation else "")


def _quoted(text: str) -> str:
    """Quote so that a prefix of a text becomes a prefix of its quoted form; what is too long ends in a sum."""
    word = quote(text, safe="", errors="surrogateescape").replace("~", "%7E").replace(".", "%2E")
    if len(word) <= _LONGEST:
        return word
    return f"{word[:_LONGEST]}~{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
