"""Local: directories of the host that builds of one project take turns in (buildspec.md 11.5, docs/JOURNAL.md 1)."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.cache.restore import CacheOutcome, Say
from agent.kit.files import read_regular, write_atomic
from agent.kit.globs import tidy

SCRIPT: Final = Path(__file__).with_name("localcache.sh")
"""Runs in the container: makes one path a symlink into the cache, and tells what came of it."""
KEEP_SECONDS: Final = 14 * 86400.0
"""How long a local cache stays that no build uses."""

_OWNER: Final = "owner"
_IMAGE: Final = "image"
_GENERATION: Final = "generation"
_GONE: Final = ".gone"
_LINKED: Final = ("hit", "miss")


@dataclass(frozen=True)
class Slot:
    """The cache of one build at a time. Only `custom` and `docker` are ever seen by a build."""

    root: Path

    @property
    def custom(self) -> Path:
        """What LOCAL_CUSTOM_CACHE keeps: a directory a path."""
        return self.root / "custom"

    @property
    def docker(self) -> Path:
        """What LOCAL_DOCKER_LAYER_CACHE keeps: the data of the build's own Docker daemon."""
        return self.root / "docker"

    @property
    def owner(self) -> str:
        """The id of the build that has it, or the empty text."""
        return _text(self.root / _OWNER)

    @property
    def image(self) -> str:
        """The image of the last build that had it; a container of it can remove what is root's."""
        return _text(self.root / _IMAGE)


class LocalCaches:
    """All local caches of one agent, in `<root>/<project>/<generation>-<slot>/`.

    Who has a slot is told by its file `owner`, so a daemon that was killed finds its builds' slots again. Any thread
    and any process may call any method; the methods raise `OSError` when the disk says no.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def take(self, project: str, build: str, image: str) -> Slot:
        """Return the slot of *build*: the one that it has already, else the lowest that nobody has."""
        with self._locked():
            generation = self.generation(project)
            found = self.held(project, build) or next(
                slot
                for number in itertools.count()
                if not (slot := Slot(self._root / project / f"{generation}-{number}")).owner
            )
            found.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (found.custom, found.docker):
                directory.mkdir(mode=0o755, exist_ok=True)
            write_atomic(found.root / _IMAGE, image.encode(), sync=False)
            write_atomic(found.root / _OWNER, build.encode())
            return found

    def held(self, project: str, build: str) -> Slot | None:
        """Return the slot that *build* has, or None."""
        return next((slot for slot in _slots(self._root / project) if slot.owner == build), None)

    def owners(self) -> Mapping[Slot, str]:
        """Return every slot that a build has, with the build's id."""
        return {slot: owner for slot in self._all() if (owner := slot.owner)}

    def free(self, slot: Slot, build: str) -> None:
        """Give back the slot of a build that uses it no more, and whose container is gone. Safe to repeat."""
        with self._locked():
            if slot.owner == build:
                (slot.root / _OWNER).unlink()

    def generation(self, project: str) -> int:
        """Return how often the project's caches have been invalidated."""
        text = _text(self._root / project / _GENERATION)
        return int(text) if text.isascii() and text.isdigit() else 0

    def invalidate(self, project: str) -> int:
        """Let no later build see what the caches of *project* hold now; return the new generation.

        Builds that run keep what they have to their end.
        """
        with self._locked():
            generation = self.generation(project) + 1
            (self._root / project).mkdir(mode=0o700, exist_ok=True)
            write_atomic(self._root / project / _GENERATION, str(generation).encode())
            return generation

    def retire(self, now: float, keep: float = KEEP_SECONDS) -> Sequence[Slot]:
        """Set aside the slots that nobody has and that are invalid, or unused for *keep* seconds.

        Returns all that has been set aside and is still to be removed from the disk, now or before.
        """
        if not self._root.is_dir():
            return []
        with self._locked():
            for slot in self._all():
                valid = slot.root.name.startswith(f"{self.generation(slot.root.parent.name)}-")
                if not slot.owner and not (valid and now - slot.root.stat().st_mtime < keep):
                    self._set_aside(slot)
        return self.retired()

    def retired(self) -> Sequence[Slot]:
        """Return all that has been set aside and is still to be removed from the disk."""
        return list(_slots(self._root / _GONE))

    def unused(self) -> Sequence[Slot]:
        """Return the slots that no build has, the longest unused first."""
        free = [slot for slot in self._all() if not slot.owner]
        return sorted(free, key=lambda slot: slot.root.stat().st_mtime)

    def set_aside(self, slot: Slot) -> None:
        """Retire a slot, unless a build has it by now."""
        with self._locked():
            if slot.root.is_dir() and not slot.owner:
                self._set_aside(slot)

    def _set_aside(self, slot: Slot) -> None:
        gone = self._root / _GONE
        gone.mkdir(mode=0o700, exist_ok=True)
        slot.root.rename(gone / str(uuid.uuid4()))

    def _all(self) -> Iterator[Slot]:
        for project in _directories(self._root):
            if project.name != _GONE:
                yield from _slots(project)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def directory_of(path: str) -> str:
    """Return the directory that a cache path means: `deps`, `deps/`, `deps/*`, `deps/**` and `deps/**/*` are one. Pure.

    The source directory itself is `.`; wildcards elsewhere stay, for they name no directory.
    """
    parts = tidy(path).split("/")
    while parts and parts[-1] in ("", "*", "**"):
        parts.pop()
    return "/".join(parts) or ("/" if path.startswith("/") else ".")


def folder_of(path: str) -> str:
    """Return the name of what belongs to a cache path, as it stands in the buildspec: 64 hexadecimal digits. Pure."""
    return hashlib.sha256(directory_of(path).encode("utf-8", "surrogateescape")).hexdigest()


def linked_paths(answers: Sequence[str | None]) -> tuple[str, ...]:
    """Return the absolute paths that are links now, by the word of `localcache.sh`. Pure."""
    found = ((answer or "").split("\n") for answer in answers)
    return tuple(path for word, path, *_ in (lines for lines in found if len(lines) > 2) if word in _LINKED)


def tell(answers: Sequence[str | None], say: Say) -> CacheOutcome:
    """Say what came of every path, in CodeBuild's words (buildspec.md 11.6), and return it for the record.

    *answers* are those of `localcache.sh`, None where it could not be run. They are the build's word, and may be
    anything.
    """
    found = [_tell_one(answer, say) for answer in answers]
    linked = [word for word in found if word in _LINKED]
    return CacheOutcome("hit" if "hit" in linked else "miss" if linked else "off")


def _tell_one(answer: str | None, say: Say) -> str:
    word, path, rest = ((answer or "") + "\n\n").split("\n", 2)
    detail = " ".join(rest.split())[:500]
    match word:
        case "hit" | "miss":
            say(f"MkdirAll: {detail}")
            say(f"Symlinking: {path} => {detail}")
        case "covered":
            say(f"Skip cache path {path}: it lies in a directory that is cached already")
        case "file":
            say(f"Unable to initialize cache download: only directories can be cached locally: {path}")
        case "refused":
            say(f"Unable to initialize cache download: {path} is not for a build to cache")
        case "absent":
            say(f"Unable to initialize cache download: the host keeps no cache for this build: {path}")
        case _:
            say(f"Unable to initialize cache download: {path or 'a path'} cannot be linked: {detail or 'it failed'}")
    return word


def _slots(directory: Path) -> Iterator[Slot]:
    return (Slot(path) for path in _directories(directory))


def _directories(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())


def _text(file: Path) -> str:
    return (read_regular(file, 4096) or b"").decode("utf-8", "replace").strip()
