"""Doctor: looks at this host and the configuration, and says what is wrong and how to mend it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.container.engine import Engine
from agent.errors import BuildspecdError
from agent.model.project import Project
from agent.pipeline.preflight import reach

_GIB = 1 << 30
_LEAST_FREE = 5 * _GIB
_TMPFS = "tmpfs"
_OLDEST_GIT = (2, 20)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `remedy` is the command or change that mends it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Host:
    """What is to be checked. `account` asks AWS who we are; None where no credentials are in sight."""

    engine: Engine
    state: Path
    runtime: Path
    account: Callable[[], str] | None
    problems: Sequence[str]
    projects: Sequence[Project]
    looks: Callable[[], Sequence[Check]] = tuple
    """Looks at the source of each project."""
    unreadable: Callable[[], Sequence[str]] = tuple
    """Asks the store for the builds whose records cannot be read."""
    queue: Callable[[], int] | None = None
    """Asks the queue of AWS events how many messages wait; None: there is no queue."""
    told: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Asks each service that is told of builds whether it would listen, without telling it anything."""


def examine(host: Host) -> list[Check]:
    """Look at everything, whatever fails on the way; raises nothing."""
    return [
        engine(host.engine),
        git(),
        *directories(host.state),
        memory_directory(host.runtime),
        *records(host.unreadable),
        *configuration(host.problems, host.projects),
        aws(host.account),
        *queue(host.queue),
        *told(host.told),
        *host.looks(),
        *preflight(host.projects),
    ]


def engine(docker: Engine) -> Check:
    """Whether the Docker engine answers."""
    try:
        facts = docker.facts()
    except BuildspecdError as error:
        return Check("docker", "fail", error.message, error.hint or "sudo systemctl start docker")
    text = f"{facts.version} (API {facts.api_version}), {facts.storage_driver}, cgroup v{facts.cgroup_version}"
    if not facts.live_restore:
        return Check(
            "docker",
            "warn",
            f"{text}; a restart of the engine ends running builds",
            'set "live-restore": true in /etc/docker/daemon.json and run: sudo systemctl reload docker',
        )
    return Check("docker", "ok", text)


def git() -> Check:
    """Whether git is there and not too old."""
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Check("git", "fail", "git is not installed", "sudo apt-get install git")
    words = said.split()
    version = words[2] if len(words) > 2 else "0"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_GIT:
        return Check("git", "fail", f"git {version} is too old", "install git 2.20 or newer")
    return Check("git", "ok", version)


def directories(state: Path) -> Iterator[Check]:
    """Whether the state directory can be written, and has space."""
    existing = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Check(
            "state_dir", "fail", f"{existing} cannot be written by this user", "run doctor as the daemon's user"
        )
    else:
        yield Check("state_dir", "ok", str(state))
    free = shutil.disk_usage(existing).free
    text = f"{free / _GIB:.0f} GiB free at {existing}"
    yield Check("disk", "ok", text) if free > _LEAST_FREE else Check("disk", "warn", text, "docker image prune --all")


def records(unreadable: Callable[[], Sequence[str]]) -> Iterator[Check]:
    """Whether the records of builds can be read."""
    try:
        found = unreadable()
    except BuildspecdError as error:
        yield Check("store", "fail", error.message, error.hint)
        return
    if found:
        some = ", ".join(found[:3])
        yield Check(
            "store",
            "fail",
            f"{len(found)} builds are set aside, for their records cannot be read: {some}",
            "restore builds.db from a backup, or install the version that wrote it; the daemon's log says more",
        )
    else:
        yield Check("store", "ok", "every record can be read")


def memory_directory(runtime: Path) -> Check:
    """Whether the directory of the builds' variables lies in memory."""
    existing = next(path for path in (runtime, *runtime.parents) if path.exists())
    kind = filesystem_of(existing, Path("/proc/mounts").read_text().splitlines())
    if kind != _TMPFS:
        return Check(
            "runtime_dir",
            "warn",
            f"{runtime} lies on {kind}, so the variables of running builds touch a disk",
            "set runtime_dir to a directory on a tmpfs, such as /run/buildspecd",
        )
    return Check("runtime_dir", "ok", f"{runtime} ({kind})")


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
        yield Check("configuration", "ok", f"{len(projects)} projects")


def aws(account: Callable[[], str] | None) -> Check:
    """Whether AWS knows us."""
    if account is None:
        return Check("aws", "ok", "no credentials in sight: logs, artifacts and caches stay on this host")
    try:
        return Check("aws", "ok", f"account {account()}")
    except BuildspecdError as error:
        return Check("aws", "fail", error.message, error.hint or "check the instance role and the network")


def queue(waiting: Callable[[], int] | None) -> Iterator[Check]:
    """Whether the queue of AWS events is there, and lets us in."""
    if waiting is None:
        return
    try:
        yield Check("queue", "ok", f"about {waiting()} messages wait")
    except BuildspecdError as error:
        yield Check("queue", "fail", error.message, error.hint or "check queue.url, and the network")


def told(services: Mapping[str, Callable[[], str]]) -> Iterator[Check]:
    """Whether events and metrics are taken."""
    for name, ask in services.items():
        try:
            yield Check(name, "ok", ask())
        except BuildspecdError as error:
            yield Check(name, "fail", error.message, error.hint or "check the network and the endpoint")


def preflight(projects: Sequence[Project]) -> Iterator[Check]:
    """Whether what the projects need can be connected to."""
    for project in projects:
        for address in project.agent.preflight:
            try:
                reach(address)
            except BuildspecdError as error:
                yield Check(f"preflight of {project.name}", "fail", error.message, error.hint)
            else:
                yield Check(f"preflight of {project.name}", "ok", address)
