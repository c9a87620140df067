"""Masks: the values that the log of a build must not show, kept in memory for a daemon that takes the build over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.kit.files import write_atomic

if TYPE_CHECKING:
    from agent.pipeline.job import Job, Paths


def keep(job: Job, values: Iterable[str]) -> None:
    """Mask *values* from now on. They stay on a tmpfs that only the daemon reads, until the build has ended."""
    values = sorted(values)
    job.transcript.add_secrets(values)
    job.paths.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(job.paths.masked, json.dumps(values).encode(), mode=0o600, sync=False)


def add(job: Job, values: Iterable[str]) -> None:
    """Mask *values*, too, from now on."""
    known = kept(job.paths)
    if new := [value for value in dict.fromkeys(values) if value not in known]:
        keep(job, (*known, *new))


def invite(paths: Paths) -> None:
    """Let the build register values of its own, whatever user its commands run as (`buildspecd-mask`)."""
    paths.handed.chmod(0o711)  # to be passed through; its files have their own modes
    os.close(os.open(paths.registered, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
    paths.registered.chmod(0o622)


def kept(paths: Paths) -> tuple[str, ...]:
    """Return the values that an earlier daemon knew of."""
    try:
        return tuple(json.loads(paths.masked.read_bytes()))
    except (OSError, ValueError):
        return ()


def are_known(job: Job) -> bool:
    """Whether the values are known; not after the host was started anew, which empties the tmpfs."""
    return job.paths.masked.exists()
