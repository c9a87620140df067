"""Gate: whether builds may begin on this host. It is shut by a drain, or because the host goes away."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from agent.kit.files import sync_directory, write_atomic
from agent.model.cause import INTERRUPTED_BY

Action = Literal["terminate", "stop", "hibernate"]


@dataclass(frozen=True)
class Notice:
    """What was said about the end of this host: by *whom*, what is done to it, and when (epoch seconds; None: soon)."""

    whom: str
    action: Action
    at: float | None = None

    @property
    def loses_state(self) -> bool:
        """Whether the disk goes with the host, so that nobody will go on with what waits here."""
        return self.action == "terminate"

    @property
    def reason(self) -> str:
        """Why a build is ended, in the words of its phase context."""
        when = f" at {datetime.fromtimestamp(self.at, UTC):%H:%M:%S} UTC" if self.at is not None else ""
        return f"{INTERRUPTED_BY}{self.whom} ({self.action}{when})"


@dataclass
class Gate:
    """Any thread may use it. A drain is kept in *file* and outlives a restart; that the host goes away is not."""

    file: Path | None = None
    leaving: Notice | None = None
    _draining: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._draining = self.file is not None and self.file.exists()

    def drain(self) -> None:
        """Let no build begin until `resume`; durable when it returns."""
        with self._lock:
            if self.file is not None:
                write_atomic(self.file, b"`buildspecd drain --cancel` ends this\n")
            self._draining = True

    def resume(self) -> None:
        """Let builds begin again, unless the host goes away."""
        with self._lock:
            if self.file is not None:
                self.file.unlink(missing_ok=True)
                sync_directory(self.file.parent)
            self._draining = False

    def leave(self, notice: Notice) -> None:
        """Let no build begin any more: this host goes away."""
        with self._lock:
            self.leaving = notice

    @property
    def shut(self) -> bool:
        """Whether no build may begin now."""
        return self._draining or self.leaving is not None
