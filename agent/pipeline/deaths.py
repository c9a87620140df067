"""Deaths: why the container of a build has ended without a word, told from what engine, host and kernel say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.container.kernel import KERNEL_LOG, victim_of
from agent.container.spec import ContainerState
from agent.errors import ContainerDied, ContainerLost
from agent.kit.clock import boot_id
from agent.kit.files import write_atomic
from agent.model.cause import EXPLANATIONS, Cause

if TYPE_CHECKING:
    from agent.pipeline.job import Job

FOUND = "Build container found dead before completing the build"
FULL_BYTES = 1 << 20
"""With less than this free, and a command that failed, the disk counts as full."""
_MEMORY = "raise environment.computeType or agent.resources.memory"
_NO_COMMAND = (126, 127)
_NO_ROOM = (1, 2)
"""The exit statuses of a shell that cannot write: all that the driver writes goes to the disk of this host."""
_FOUND_DEAD = 255
"""The exit status that an engine gives a container which it finds dead when it starts."""


@dataclass(frozen=True)
class Evidence:
    """What is known beside the container's own state.

    `restarted` is what was started anew since the container was made; `victim` the process that the kernel killed, and
    `command` the one that ran, both for a message. `began`: the driver had entered a phase, so the image can run it.
    """

    restarted: Literal["", "engine", "host"] = ""
    victim: str = ""
    command: str = ""
    began: bool = False


def note(job: Job) -> None:
    """Remember which start of the host and of the engine the container belongs to; call it ahead of its creation."""
    marks = {"boot": boot_id(), "engine": job.tools.engine.mark()}
    write_atomic(_notes(job), json.dumps(marks).encode(), sync=False)


def restarted(job: Job) -> Literal["", "engine", "host"]:
    """Return what was started anew since `note`; empty where nothing was, or nobody can tell.

    Raises `Unavailable` while there is no engine: one that goes down takes its containers with it first.
    """
    noted = _noted(job)
    if noted.get("boot") and boot_id() and noted["boot"] != boot_id():
        return "host"
    mark = job.tools.engine.mark() if noted.get("engine") else ""
    return "engine" if mark and noted["engine"] != mark else ""


def evidence(
    job: Job, state: ContainerState | None, command: str, *, began: bool = False, log: Path = KERNEL_LOG
) -> Evidence:
    """Gather what may be known about the death of the container of *job*; *command* ran when it was last heard of.

    Raises `Unavailable` while there is no engine to ask.
    """
    victim = victim_of(state.id, log) if state is not None else None
    return Evidence(restarted(job), str(victim or ""), command, began)


def death(state: ContainerState | None, evidence: Evidence = Evidence()) -> ContainerDied | ContainerLost:
    """Return what it means that a container ended without a result. Pure.

    The host counts most, as it takes all else with it. Memory is looked at before the engine: a container that ran out
    of it was dead before.
    """
    if evidence.restarted == "host":
        return _lost("the host was restarted", Cause.HOST_RESTARTED)
    if state is not None and (state.oom_killed or evidence.victim):
        return ContainerDied(
            f"{FOUND}: it ran out of memory{told(evidence)}",
            code="OUT_OF_MEMORY",
            hint=_MEMORY,
            cause=Cause.OUT_OF_MEMORY,
        )
    if evidence.restarted == "engine" or (state is not None and state.exit_code == _FOUND_DEAD):
        return _lost("the Docker engine was restarted", Cause.ENGINE_RESTARTED)
    if state is None or state.removing:
        return _lost("it is gone", Cause.CONTAINER_REMOVED)
    if state.error or state.exit_code in _NO_COMMAND:
        return ContainerDied(
            f"{FOUND}: {state.error or f'exit status {state.exit_code}'}", hint="the image must contain /bin/sh"
        )
    if evidence.began and state.exit_code in _NO_ROOM:
        what = f"exit status {state.exit_code}: it could not write to the disk of this host"
        return _lost(what, Cause.HOST_DISK_FULL)
    return _lost(f"exit status {state.exit_code}", Cause.CONTAINER_KILLED)


def stopped(evidence: Evidence) -> ContainerLost:
    """Return what it means that the driver was told to end, and not by us: `docker stop`, or an engine going down."""
    if evidence.restarted:
        died = death(None, evidence)
        return ContainerLost(died.message, hint=died.hint, cause=died.cause)
    return _lost("somebody else stopped it", Cause.CONTAINER_KILLED)


def told(evidence: Evidence) -> str:
    """Return whom it hit, for the end of a sentence; empty where nobody knows."""
    victim = f": the kernel killed {evidence.victim}" if evidence.victim else ""
    return f"{victim}{';' if victim else ','} while running {evidence.command}" if evidence.command else victim


def disk_is_full(places: Mapping[str, Path], free: Callable[[Path], Any] = os.statvfs) -> str:
    """Return which of *places*, by name, lies on a disk without room; empty: none. For root: the reserve counts too."""
    for name, path in places.items():
        with suppress(OSError):
            facts = free(path)
            if facts.f_bfree * facts.f_frsize < FULL_BYTES or (facts.f_files and not facts.f_ffree):
                return name
    return ""


def _lost(what: str, cause: Cause) -> ContainerLost:
    return ContainerLost(f"{FOUND}: {what}", hint=EXPLANATIONS[cause].advice, cause=cause)


def _notes(job: Job) -> Path:
    return job.paths.scratch / "standing.json"


def _noted(job: Job) -> Mapping[str, Any]:
    try:
        noted = json.loads(_notes(job).read_bytes())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
