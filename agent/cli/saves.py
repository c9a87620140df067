"""Saves: whether somebody has changed the working tree that `run --watch` builds."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from agent.kit.service import StopToken
from agent.triggers.filewatch import watch_tree

_LOOK_EVERY = 0.1
_LEFTOVERS = ("~", ".swp", ".swx", ".tmp", ".part")
"""Ends of names that editors write beside the file that they save."""


class Saves:
    """Watches *directory* inside a `with` block; changes of git's own files and of *outputs* do not count."""

    def __init__(self, directory: Path, outputs: Sequence[Path] = ()) -> None:
        self._directory = _named(directory)
        self._outputs = tuple(map(_named, outputs))
        self._seen = threading.Event()

    def __enter__(self) -> Saves:
        self._watcher = watch_tree(self._directory, self._seen.set, self._ignored)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.close()

    def forget(self) -> None:
        """Forget what has been seen so far; call it before a build, so that saves during the build count."""
        self._seen.clear()

    def wait(self, stop: StopToken) -> bool:
        """Wait for a save; return False when *stop* came first."""
        while not stop.is_set:
            if self._seen.is_set():
                return True
            stop.wait(_LOOK_EVERY)
        return False

    def _ignored(self, path: Path) -> bool:
        if any(path.is_relative_to(output) for output in self._outputs):
            return True
        return ".git" in path.relative_to(self._directory).parts or path.name.endswith(_LEFTOVERS)


def _named(path: Path) -> Path:
    """Return *path* without `..`, by its own name: the way the watch reports paths."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolving would follow links, which the watch does not
