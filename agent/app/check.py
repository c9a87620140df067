"""Check: this host and the configuration, looked at for `buildspecd doctor`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from agent.app import guarding
from agent.app.cloudcheck import cloud
from agent.app.looks import LookAt, looking
from agent.container.docker import DockerEngine
from agent.container.image import pull_reference
from agent.container.lookout import DockerLookout
from agent.daemon import metadata
from agent.daemon.checks import disk, host, network, preflight
from agent.daemon.checks.cgroups import cgroups
from agent.daemon.checks.check import Check, Progress, Question, examine
from agent.daemon.checks.permissions import Hasty
from agent.daemon.checks.unit import unit
from agent.daemon.checks.vpc import vpc
from agent.daemon.whereabouts import Whereabouts
from agent.errors import ProjectUnknown, SettingsInvalid
from agent.kit.clock import SystemClock
from agent.model.project import Project
from agent.settings.live import LiveConfiguration
from agent.settings.problems import did_you_mean
from agent.settings.schema import Settings
from agent.store.builds import Builds
from agent.store.database import Database

__all__ = ["Check", "Progress", "check_host"]

_SOURCE_SECONDS = 5.0
_ROLES_SECONDS = 30.0
_CLOUD_SECONDS = 60.0
"""A bound on bounds: whatever is asked of AWS has its own."""


def check_host(config: Path | None, only: Collection[str] = (), progress: Progress | None = None) -> list[Check]:
    """Look at this host and the configuration, all at once; one `Check` for each thing looked at.

    *only*: of the projects, these. Raises `ProjectUnknown`, `UsageError`.
    """
    try:
        live = LiveConfiguration(config)
    except SettingsInvalid as error:
        return [Check("configuration", "fail", str(problem), "mend the file") for problem in error.problems]
    projects = _chosen(live.projects, only)
    aws, chosen = hasty(live.settings), list(projects.values())
    with looking(live.settings, projects, aws) as looks:
        questions = [
            *_of_host(live, projects),
            Question("roles", partial(guarding.checks, live.settings, chosen, aws, DockerEngine()), _ROLES_SECONDS),
            Question("aws", partial(cloud, live.settings, aws, chosen, progress), _CLOUD_SECONDS),
            *_of_projects(live.settings, projects, looks),
        ]
        return examine(questions, progress)


def hasty(settings: Settings) -> Hasty:
    """Return clients that do not wait long."""
    aws = settings.aws
    return Hasty(region=aws.region, profile=aws.profile, endpoint_url=aws.endpoint_url)


def unreadable_builds(file: Path) -> list[str]:
    """Return the builds of a store whose records cannot be read; a store that is not there has none."""
    if not file.is_file():
        return []
    database = Database(file, read_only=True)
    try:
        return Builds(database).unreadable()
    finally:
        database.close()


def _chosen(projects: Mapping[str, Project], only: Collection[str]) -> dict[str, Project]:
    for name in only:
        if name not in projects:
            raise ProjectUnknown(
                f"there is no project {name!r}{did_you_mean(name, tuple(projects))}",
                hint="`buildspecd projects list` shows them all",
            )
    return {name: project for name, project in projects.items() if not only or name in only}


def _of_host(live: LiveConfiguration, projects: Mapping[str, Project]) -> Iterator[Question]:
    """Yield what is asked of this machine alone."""
    settings = live.settings
    state, problems = settings.state_dir, [str(problem) for problem in live.problems]
    yield Question("docker", partial(host.engine, DockerEngine()), remedy="sudo systemctl restart docker")
    yield Question("cgroups", cgroups)
    yield Question("git", host.git)
    yield Question("state_dir", partial(disk.state_directory, state))
    yield Question("disk", partial(disk.room, state, settings.disk.reserve))
    yield Question("disk speed", partial(disk.speed, state), remedy="the disk of state_dir hangs: look at dmesg")
    yield Question("runtime_dir", partial(host.memory_directory, settings.runtime_dir))
    yield Question("store", partial(host.records, partial(unreadable_builds, state / "builds.db")))
    yield Question("configuration", partial(host.configuration, problems, list(live.projects.values())))
    yield Question("unit", unit)
    yield Question("route", network.route)
    where = Whereabouts(metadata.endpoint(), SystemClock())
    yield Question("metadata", partial(vpc, where, list(projects.values()), settings.host.vpc))


def _of_projects(
    settings: Settings, projects: Mapping[str, Project], looks: Sequence[tuple[str, str, LookAt]]
) -> Iterator[Question]:
    for name, place, look in looks:
        remedy = (
            f"{place} does not answer in time: look at that server, at proxies and at firewalls between here and it"
        )
        yield Question(f"source of {name}", partial(_source, look), _SOURCE_SECONDS, remedy)
    engine, outlook, agent_id = DockerEngine(), DockerLookout(), _agent_id(settings.state_dir)
    rewrites: Callable[[str], str] = partial(pull_reference, rewrites=settings.images.rewrite)
    for name, project in sorted(projects.items()):
        if project.agent.preflight:
            look_out = partial(preflight.preflight, project, engine, outlook, rewrites, agent_id)
            yield Question(f"preflight of {name}", look_out, preflight.patience(project, outlook))


def _source(look: LookAt) -> Iterator[Check]:
    one = look()
    yield Check(f"source of {one.project}", "fail" if one.trouble else "ok", one.trouble or one.place, one.hint)


def _agent_id(state: Path) -> str:
    """Return the id of the daemon's, so that it clears away what a killed doctor left behind."""
    try:
        return (state / "agent-id").read_text().strip()
    except OSError:
        return ""
