"""Landing: a source is fetched where no container sees it, and set down in the workspace when it is whole.

The container runs already while sources are fetched, and its image may be anybody's: whoever writes into the workspace
by path could be led out of it by a symlink. Here every step on the way is a directory held open, never a link.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def berth(job: Job, identifier: str | None) -> Path:
    """Return the directory into which a source is fetched, the primary's under None; it is there after the call."""
    directory = job.paths.scratch / "sources" / (identifier or "primary")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def land(fetched: Path, workspace: Path, below: str) -> None:
    """Have directory *below* of *workspace* (empty: itself) hold what *fetched* does, whatever stood there before.

    *fetched* is gone after that. A second call, with a source fetched again, puts that one in its place.
    """
    *parents, name = below.split("/") if below else [""]
    with _descended(workspace, parents) as parent:
        if name:
            _set_down(fetched, parent, name)
            return
        for entry in list(os.scandir(fetched)):
            _set_down(Path(entry.path), parent, entry.name)
    fetched.rmdir()


@contextlib.contextmanager
def _descended(workspace: Path, parents: list[str]) -> Iterator[int]:
    """Yield a descriptor of the directory *parents* below *workspace*; what stands in its way goes."""
    handle = os.open(workspace, _DIRECTORY)
    try:
        for name in parents:
            inner = _entered(handle, name)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _entered(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError:
        _clear(parent, name)  # nothing there, or no directory
    os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _set_down(fetched: Path, parent: int, name: str) -> None:
    _clear(parent, name)
    os.rename(fetched, name, dst_dir_fd=parent)


def _clear(parent: int, name: str) -> None:
    """Remove *name*, whatever it is; links are not followed."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(name, dir_fd=parent)
