"""CommitStatus: what a git host shall show beside a commit (service.md 1.3 and 2.4)."""

from __future__ import annotations

from enum import StrEnum

from agent.model.project import Source
from agent.model.shape import Shape


class CommitState(StrEnum):
    """How it stands with what is shown; each host has words of its own for these."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAULTED = "faulted"
    STOPPED = "stopped"


class CommitStatus(Shape):
    """One status of one commit. Of two with the same `key` the later one takes the earlier one's place.

    `source` is the repository, and says with whose credential it is entered; `sha` is 40 or 64 hexadecimal digits;
    `host` is the name of who is told, `context` the name under which the host keeps it; `url` is where a click leads;
    `at` is in epoch seconds.
    """

    key: str
    source: Source
    sha: str
    state: CommitState
    host: str
    context: str
    description: str
    url: str | None = None
    at: float
