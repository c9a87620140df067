"""Spool: the masked log on disk, and the checkpoint that makes it exactly-once across a kill -9.

Bytes are appended first and the checkpoint is written after; what lies beyond the checkpoint was never seen by anybody
and is cut off when the spool is opened again. A kill needs no fsync for that; `settle` does one, at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import DiskFull
from agent.kit.files import NO_SPACE, sync_directory, write_atomic

LOG = "log"
CHECKPOINT = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """How far the log has come.

    `raw`: offset in the raw file from which to read on; `covered`: how many of the bytes from there belong to a secret
    whose stars are in the spool; `length` and `lines` of the spool; `said`: sums of the lines that each step has said.
    """

    raw: int = 0
    covered: int = 0
    length: int = 0
    lines: int = 0
    said: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Spool:
    """The files `log` and `checkpoint.json` in a directory of one build; the caller's lock guards it.

    Readers may look at the first `committed` bytes of the log at any time, from any thread or process.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(directory, CHECKPOINT)
        self._checkpoint_file = directory / CHECKPOINT
        self.log = directory / LOG
        self.problem = ""
        self._file = os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.checkpoint = self._resume()
        self.length = self.checkpoint.length
        self.lines = self.checkpoint.lines
        os.ftruncate(self._file, self.length)

    @property
    def committed(self) -> int:
        """How many bytes of the log are there for good."""
        return self.checkpoint.length

    @property
    def at_line_start(self) -> bool:
        """Whether the last byte is a newline, or there is none."""
        return self.length == 0 or os.pread(self._file, 1, self.length - 1) == b"\n"

    def append(self, data: bytes) -> None:
        """Add *data*, all or nothing; readers do not see it before `commit`. Raises `DiskFull`."""
        view, at = memoryview(data), self.length
        try:
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            os.ftruncate(self._file, self.length)
            if error.errno in NO_SPACE:
                raise _disk_full(self.log) from error
            raise
        self.length = at
        self.lines += data.count(b"\n")

    def commit(self, *, raw: int, covered: int, said: Mapping[str, Sequence[int]], sync: bool = False) -> None:
        """Make what was appended visible, and *raw* the place to go on from. Raises `DiskFull`.

        With *sync* it outlives a power cut too. What has been committed before takes no room to be synced.
        """
        kept = {step: list(sums) for step, sums in said.items()}  # those of the caller grow
        checkpoint = Checkpoint(raw, covered, self.length, self.lines, kept)
        try:
            if sync:
                os.fsync(self._file)
            if sync and checkpoint == self.checkpoint and self._checkpoint_file.exists():
                self._sync_checkpoint()
            else:
                data = json.dumps(asdict(checkpoint)).encode()
                write_atomic(self._checkpoint_file, data, mode=0o600, sync=sync)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise _disk_full(self._checkpoint_file) from error
            raise
        self.checkpoint = checkpoint

    def _sync_checkpoint(self) -> None:
        handle = os.open(self._checkpoint_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_directory(self._checkpoint_file.parent)

    def close(self) -> None:
        """Let the file go. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _resume(self) -> Checkpoint:
        """Return the checkpoint; one that a power cut has spoilt costs no byte that is in the spool."""
        size = os.fstat(self._file).st_size
        try:
            checkpoint = read_checkpoint(self._checkpoint_file.parent)
        except ValueError:
            checkpoint = None
        if checkpoint is None and not self._checkpoint_file.exists():
            return Checkpoint()
        if checkpoint is None or checkpoint.length > size:
            self.problem = "the log's checkpoint was damaged; some lines may be missing or doubled"
            return Checkpoint(length=size, lines=_count_lines(self._file))
        return checkpoint


def read_checkpoint(directory: Path) -> Checkpoint | None:
    """Return the checkpoint of a log's directory; None where there is none. Raises `ValueError` for a damaged one."""
    try:
        record: Any = json.loads((directory / CHECKPOINT).read_bytes())
    except FileNotFoundError:
        return None
    try:
        checkpoint = Checkpoint(**record)
    except TypeError as error:
        raise ValueError(f"{directory / CHECKPOINT}: {error}") from error
    if not _makes_sense(checkpoint):
        raise ValueError(f"{directory / CHECKPOINT} makes no sense")
    return checkpoint


def _makes_sense(checkpoint: Checkpoint) -> bool:
    numbers = (checkpoint.raw, checkpoint.covered, checkpoint.length, checkpoint.lines)
    said: Any = checkpoint.said
    return all(type(number) is int and number >= 0 for number in numbers) and (
        isinstance(said, dict) and all(isinstance(sums, list) for sums in said.values())
    )


def sweep(directory: Path, name: str) -> None:
    """Remove what a killed process left of writing the file *name* whole."""
    for aside in directory.glob(f".{name}.*"):
        aside.unlink(missing_ok=True)


def _count_lines(file: int) -> int:
    lines = at = 0
    while chunk := os.pread(file, 1 << 20, at):
        lines += chunk.count(b"\n")
        at += len(chunk)
    return lines


def _disk_full(path: Path) -> DiskFull:
    return DiskFull(f"{path}: no space left on the host", hint="free some disk space below state_dir")
