"""Breakpoints: the files by which `codebuild-breakpoint` pauses a build with a debug session (docs/JOURNAL.md 4)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.kit.files import write_atomic

_PAUSED = "paused"


def allow(control: Path, build_id: str) -> None:
    """Make what a pause needs below *control*, for every user of the container. Safe to repeat before it starts."""
    user = control / "user"
    write_atomic(user / "debug", f"{build_id}\n".encode(), sync=False)
    resume = user / "resume"
    if not resume.is_fifo():
        os.mkfifo(resume)
    os.close(os.open(user / _PAUSED, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    for file in (resume, user / _PAUSED):
        file.chmod(0o666)  # the umask cuts what is asked for at the making


def is_paused(control: Path) -> bool:
    """Whether the build says that it waits at a breakpoint. It can say so of itself, and means only itself."""
    try:
        user = os.open(control / "user", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        facts = os.stat(_PAUSED, dir_fd=user, follow_symlinks=False)
    except OSError:
        return False
    finally:
        os.close(user)
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0
