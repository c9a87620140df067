"""ContainerSpec: all that is said to an engine about one container."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

BUILD_LABEL = "buildspecd.build"
AGENT_LABEL = "buildspecd.agent"


@dataclass(frozen=True)
class Mount:
    """A directory of the host, seen in the container at *target*."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """What to create. Holds nothing secret: values reach a build through its control directory.

    `memory` is in bytes, `cpus` in CPUs, `pids` counts processes and threads; None: no limit. `tmpfs` maps a path to
    its mount options.
    The command runs as root with the image's own ENTRYPOINT and USER set aside, standard input empty, no TTY,
    and Docker's log driver `none`.
    """

    build_id: str
    agent_id: str
    image: str
    command: tuple[str, ...]
    working_dir: str
    mounts: tuple[Mount, ...]
    tmpfs: dict[str, str] = field(default_factory=dict)
    network: str = "host"
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    privileged: bool = False
    cgroup_parent: str | None = None
    """Cgroup in which the container's own is made, in the words of the engine's driver; None: the engine's own."""


@dataclass(frozen=True)
class ContainerState:
    """How a container stands. `started` is False for one that was created and never ran.

    `image` is the id of its image, whatever name that has now; `variables` are the image's own, as `NAME=value`.
    """

    id: str
    running: bool
    started: bool
    exit_code: int
    oom_killed: bool
    error: str = ""
    image: str = ""
    variables: tuple[str, ...] = ()
    removing: bool = False
    """Whether the engine is at removing it; it tells that ahead of killing one that runs."""


@dataclass(frozen=True)
class RegistryLogin:
    """What opens a registry; `repr` hides the password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class EngineFacts:
    """What `doctor` and the limits need to know of the engine."""

    version: str
    api_version: str
    cpus: int
    memory: int
    storage_driver: str
    cgroup_version: str
    live_restore: bool
    cgroup_driver: str = "cgroupfs"


def container_name(build_id: str) -> str:
    """Return the name of a build's container: `buildspecd-` and the part of the id after the colon."""
    return "buildspecd-" + re.sub(r"[^A-Za-z0-9_.-]", "-", build_id.rpartition(":")[2])
