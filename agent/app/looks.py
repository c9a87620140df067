"""Looks: whether the sources of projects open with their credentials, for `doctor` and `projects check`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.app.keyring import SourceAccess
from agent.aws import Aws
from agent.errors import BuildspecdError
from agent.kit.clock import SystemClock
from agent.kit.parallel import for_each
from agent.kit.service import StopToken
from agent.model.project import EVERY_REPOSITORY, GIT_TYPES, Project, Source
from agent.objects.location import open_store
from agent.settings.schema import Settings
from agent.source.bucket import Buckets
from agent.source.sources import Sources
from agent.source.url import without_logins

_THREADS = 8


@dataclass(frozen=True)
class Look:
    """How one look at a source of *project* went; `trouble` is empty where it opened. `hint`: what to do."""

    project: str
    place: str
    trouble: str = ""
    hint: str = ""


LookAt = Callable[[], Look]


@contextmanager
def looking(settings: Settings, projects: Mapping[str, Project], aws: Aws) -> Iterator[list[tuple[str, str, LookAt]]]:
    """Yield for every source of *projects* its project, its place, and what asks the git server or bucket for it."""
    wanted = [
        (name, source)
        for name, project in sorted(projects.items())
        for source in (project.source, *project.secondary_sources)
        if (source.type in GIT_TYPES or source.type == "S3") and source.location != EVERY_REPOSITORY
    ]
    with tempfile.TemporaryDirectory(
        prefix="buildspecd-", dir=_memory(settings.runtime_dir), ignore_cleanup_errors=True
    ) as room:
        access = SourceAccess(
            settings, aws, SystemClock(), Path(room), lambda place: open_store(place, aws), lambda: projects
        )
        sources = Sources(
            Path(room) / "mirrors",
            keyring=access.accounts,
            ca_file=access.ca_file,
            connections=access.connections,
        )
        buckets = Buckets(access.open_store)
        yield [
            (name, without_logins(source.location or ""), partial(_look, sources, buckets, name, source))
            for name, source in wanted
        ]


def look_at_sources(settings: Settings, projects: Mapping[str, Project]) -> list[Look]:
    """Ask every git server and bucket for the sources of *projects*, several at once; raises nothing."""
    aws = Aws(region=settings.aws.region, profile=settings.aws.profile, endpoint_url=settings.aws.endpoint_url)
    found: dict[int, Look] = {}
    with looking(settings, projects, aws) as wanted:

        def look(index: int) -> None:
            found[index] = wanted[index][2]()

        if wanted:
            for_each(range(len(wanted)), look, threads=min(_THREADS, len(wanted)), name="look")
    return [found[index] for index in sorted(found)]


def _look(sources: Sources, buckets: Buckets, name: str, source: Source) -> Look:
    place = without_logins(source.location or "")
    try:
        moved_to = _open(sources, buckets, source)
    except BuildspecdError as error:
        return Look(name, place, error.message, error.hint)
    return Look(name, place, hint=f"it was renamed: write {moved_to}" if moved_to else "")


def _open(sources: Sources, buckets: Buckets, source: Source) -> str:
    """Look at *source*; return its new address where it was renamed. Raises `BuildspecdError`."""
    if source.type != "S3":
        return sources.heads(source).moved_to
    buckets.standing(source, StopToken())
    return ""


def _memory(runtime: Path) -> Path | None:
    """Return the runtime directory where it is there and ours; else keys of a minute lie where temporary files do."""
    try:
        probe = runtime / ".look"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError:
        shared = Path("/dev/shm")  # noqa: S108  # memory, so that no key reaches a disk
        return shared if shared.is_dir() else None
    return runtime
