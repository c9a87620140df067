"""Host: engine, git, memory, records and configuration of this host, checked for `buildspecd doctor`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from agent.container.engine import Engine
from agent.daemon.checks.check import Check
from agent.model.project import Project

_TMPFS = "tmpfs"
_OLDEST_GIT = (2, 20)


def engine(docker: Engine) -> Iterator[Check]:
    """Whether the Docker engine answers. Raises `EngineUnavailable`."""
    facts = docker.facts()
    text = f"{facts.version} (API {facts.api_version}), {facts.storage_driver}, cgroup v{facts.cgroup_version}"
    if facts.storage_driver in ("vfs", "devicemapper", "aufs"):
        yield Check(
            "docker",
            "warn",
            f"{text}; {facts.storage_driver} copies every layer, so containers start slowly and fill the disk",
            'set "storage-driver": "overlay2" in /etc/docker/daemon.json and run: sudo systemctl restart docker',
        )
    elif not facts.live_restore:
        yield Check(
            "docker",
            "warn",
            f"{text}; a restart of the engine ends running builds",
            'set "live-restore": true in /etc/docker/daemon.json and run: sudo systemctl reload docker',
        )
    else:
        yield Check("docker", "ok", text)


def git() -> Iterator[Check]:
    """Whether git is there and not too old."""
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=4, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        yield Check("git", "fail", "git is not installed", "sudo apt-get install git, or sudo dnf install git")
        return
    words = said.split()
    version = words[2] if len(words) > 2 else "0"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_GIT:
        yield Check("git", "fail", f"git {version} is too old", "install git 2.20 or newer")
    else:
        yield Check("git", "ok", version)


def records(unreadable: Callable[[], Sequence[str]]) -> Iterator[Check]:
    """Whether the records of builds can be read. Raises `BuildspecdError`."""
    if found := unreadable():
        some = ", ".join(found[:3])
        yield Check(
            "store",
            "fail",
            f"{len(found)} builds are set aside, for their records cannot be read: {some}",
            "restore builds.db from a backup, or install the version that wrote it; the daemon's log says more",
        )
    else:
        yield Check("store", "ok", "every record can be read")


def memory_directory(runtime: Path) -> Iterator[Check]:
    """Whether the directory of the builds' variables lies in memory."""
    existing = next(path for path in (runtime, *runtime.parents) if path.exists())
    kind = filesystem_of(existing, Path("/proc/mounts").read_text().splitlines())
    if kind != _TMPFS:
        yield Check(
            "runtime_dir",
            "warn",
            f"{runtime} lies on {kind}, so the variables of running builds touch a disk",
            "set runtime_dir to a directory on a tmpfs, such as /run/buildspecd",
        )
    else:
        yield Check("runtime_dir", "ok", f"{runtime} ({kind})")


def filesystem_of(path: Path, mounts: Iterable[str]) -> str:
    """Return the type of the file system that holds *path*, by the lines of /proc/mounts. Pure."""
    best, kind = "", "unknown"
    for line in mounts:
        _, point, found = line.split()[:3]
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def configuration(problems: Sequence[str], projects: Sequence[Project]) -> Iterator[Check]:
    """Whether settings and project files are right."""
    for problem in problems:
        yield Check("configuration", "fail", problem, "mend the file; `buildspecd projects check` shows all problems")
    if not problems:
        count = len(projects)
        yield Check("configuration", "ok", "1 project" if count == 1 else f"{count} projects")


def queue(waiting: Callable[[], int]) -> Iterator[Check]:
    """Whether the queue of AWS events is there, and lets us in. Raises `BuildspecdError`."""
    yield Check("queue", "ok", f"about {waiting()} messages wait")


def told(name: str, ask: Callable[[], str]) -> Iterator[Check]:
    """Whether somebody who is told of builds would listen. Raises `BuildspecdError`."""
    yield Check(name, "ok", ask())
