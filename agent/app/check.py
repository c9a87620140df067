"""Check: this host and the configuration, looked at for `buildspecd doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.app import guarding
from agent.app.looks import look_at_sources
from agent.app.measures import probes
from agent.app.workshop import aws_of
from agent.container.docker import DockerEngine
from agent.daemon import doctor
from agent.daemon.doctor import Check
from agent.errors import SettingsInvalid
from agent.settings.live import LiveConfiguration
from agent.store.builds import Builds
from agent.store.database import Database
from agent.triggers.sqs import Queue

__all__ = ["Check", "check_host"]


def check_host(config: Path | None) -> list[Check]:
    """Look at this host and the configuration; one `Check` for each thing looked at."""
    try:
        live = LiveConfiguration(config)
    except SettingsInvalid as error:
        return [Check("configuration", "fail", str(problem), "mend the file") for problem in error.problems]
    aws = aws_of(live.settings)
    queue_url = live.settings.queue.url
    found = doctor.examine(
        doctor.Host(
            engine=DockerEngine(),
            state=live.settings.state_dir,
            runtime=live.settings.runtime_dir,
            account=aws.identify if aws.in_sight() else None,
            problems=[str(problem) for problem in live.problems],
            projects=list(live.projects.values()),
            looks=_looks(live),
            unreadable=lambda: unreadable_builds(live.settings.state_dir / "builds.db"),
            queue=Queue(aws, queue_url).waiting if queue_url else None,
            told=probes(live.settings, aws) if aws.in_sight() else {},
        )
    )
    return [*found, *guarding.checks(live.settings, list(live.projects.values()), aws, DockerEngine())]


def unreadable_builds(file: Path) -> list[str]:
    """Return the builds of a store whose records cannot be read; a store that is not there has none."""
    if not file.is_file():
        return []
    database = Database(file, read_only=True)
    try:
        return Builds(database).unreadable()
    finally:
        database.close()


def _looks(live: LiveConfiguration) -> Callable[[], list[Check]]:
    def look() -> list[Check]:
        return [
            Check(f"source of {one.project}", "fail" if one.trouble else "ok", one.trouble or one.place, one.hint)
            for one in look_at_sources(live.settings, live.projects)
        ]

    return look
