"""Estate: the directories of one agent, and the lock that makes them its own."""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import BuildspecdError, StateDirBusy
from agent.kit.files import write_atomic
from agent.pipeline.job import Paths


@dataclass(frozen=True)
class Estate:
    """The state directory, and the directory in memory for secrets (docs/JOURNAL.md 1)."""

    state: Path
    runtime: Path
    agent_id: str

    @classmethod
    def at(cls, state: Path, runtime: Path) -> Estate:
        """Make the directories that are missing; the agent's id is made once and kept. Raises `BuildspecdError`."""
        try:
            for directory in (state, state / "builds", state / "mirrors"):
                directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            agent_id = _kept_id(state / "agent-id")
            runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_strangers(runtime)
            (runtime / agent_id).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BuildspecdError(
                f"{error.filename}: {error.strerror}", hint="check owner and permissions of state_dir and runtime_dir"
            ) from error
        return cls(state, runtime, agent_id)

    @property
    def database(self) -> Path:
        return self.state / "builds.db"

    @property
    def builds(self) -> Path:
        return self.state / "builds"

    @property
    def mirrors(self) -> Path:
        return self.state / "mirrors"

    @property
    def spares(self) -> Path:
        """Holds work trees that stand ready for checkouts."""
        return self.state / "spares"

    @property
    def caches(self) -> Path:
        """Holds the local caches of projects."""
        return self.state / "cache"

    @property
    def secrets(self) -> Path:
        """Holds one directory a running build; only ours, so that two agents may share a runtime directory."""
        return self.runtime / self.agent_id

    @property
    def keys(self) -> Path:
        """Holds SSH keys and certificates of sources, as long as the agent runs; beside `secrets`, which is swept."""
        return self.runtime / f"{self.agent_id}.keys"

    def of_build(self, build_uuid: str) -> Paths:
        """Return where a build lives."""
        return Paths(self.builds / build_uuid, self.secrets / build_uuid)


def _refuse_strangers(runtime: Path) -> None:
    """Where anybody may make directories (/dev/shm), one of another user's could be waiting for our secrets."""
    anybody = runtime.parent.stat().st_mode & stat.S_IWOTH
    if anybody and runtime.lstat().st_uid != os.geteuid():
        raise BuildspecdError(
            f"runtime_dir {runtime} belongs to another user", hint="remove it, or set runtime_dir to another directory"
        )


@contextmanager
def locked(path: Path, *, busy: str) -> Iterator[None]:
    """Hold *path* as long as the block runs; the kernel lets go of it when we die. Raises `StateDirBusy`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise StateDirBusy(
                f"{busy} (process {owner or 'unknown'})", hint="stop that one, or give this one another state_dir"
            ) from error
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether somebody holds *path* now."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _kept_id(path: Path) -> str:
    if not path.exists():
        write_atomic(path, f"{uuid.uuid4()}\n".encode())
    return path.read_text().strip()
