"""Local: one build of a working tree, without the daemon, on the daemon's own route."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from agent.cache.local import LocalCaches, Slot
from agent.container.engine import Engine
from agent.daemon.cachesweep import sweep_caches
from agent.daemon.estate import Estate, is_locked, locked
from agent.daemon.intake import Intake, current_user
from agent.errors import SourceNotFound, UsageError
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.phase import PhaseContext
from agent.model.project import AgentOptions, Artifacts, Cache, Environment, Project, Source
from agent.model.report import Report
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.job import Job
from agent.pipeline.recorder import Recorder
from agent.pipeline.route import travel
from agent.pipeline.steps import reclaim_tree
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Queue
from agent.store.reports import Reports

DEFAULT_IMAGE = "aws/codebuild/standard:7.0"
_ALIVE = "alive"


@dataclass(frozen=True)
class LocalRun:
    """What `buildspecd run` was asked for. `console` receives the log; None: nobody. `reported` is told of reports."""

    directory: Path
    buildspec: str | None = None
    image: str | None = None
    variables: Mapping[str, str] | None = None
    project: str | None = None
    config: Path | None = None
    artifacts: Path | None = None
    cache: Path | None = None
    network: str | None = None
    privileged: bool = False
    debug: bool = False
    timeout_minutes: float | None = None
    console: BinaryIO | None = None
    stop: StopToken = field(default_factory=StopToken)
    reported: Callable[[Report], object] = lambda _: None


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where local builds keep mirrors and their records: `$XDG_STATE_HOME/buildspecd`."""
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "buildspecd"


def local_project(wanted: LocalRun, base: Project | None) -> Project:
    """Return the project that a local build runs with: *base*, if any, with its source, artifacts and logs set aside.

    A local build uploads nothing: artifacts go to `--artifacts`, the cache to `--cache` unless it is LOCAL, the log to
    the terminal. Pure.
    """
    name = base.name if base else _name_of(wanted.directory)
    environment = base.environment if base else Environment(image=wanted.image or DEFAULT_IMAGE)
    if wanted.image:
        environment = environment.evolve(image=wanted.image)
    if wanted.privileged:
        environment = environment.evolve(privileged_mode=True)
    agent = base.agent if base else AgentOptions()
    if wanted.network:
        agent = agent.evolve(network=wanted.network)
    if wanted.debug:
        agent = agent.evolve(debug=True)
    buildspec = buildspec_of(wanted) or (base.source.buildspec if base else None)
    document: dict[str, Any] = {
        "name": name,
        "source": Source(type="DIRECTORY", location=str(wanted.directory), buildspec=buildspec),
        "environment": environment,
        "agent": agent.evolve(supersede="none"),
        "artifacts": Artifacts(type="NO_ARTIFACTS"),
        "cache": _cache_of(wanted, base),
    }
    if base:
        document["timeout_in_minutes"] = base.timeout_in_minutes
        document["encryption_key"] = base.encryption_key
        document["service_role"] = base.service_role  # it is not assumed, which the log says
    if wanted.timeout_minutes is not None:
        document["timeout_in_minutes"] = wanted.timeout_minutes
    return Project(**document)


def _cache_of(wanted: LocalRun, base: Project | None) -> Cache:
    if wanted.cache:
        return Cache(type="S3", location=wanted.cache.as_uri())
    return base.cache if base and base.cache.type == "LOCAL" else Cache()


def buildspec_of(wanted: LocalRun) -> str | None:
    """Return what `-f` means: a path below the tree, or the text of a file that lies elsewhere."""
    if wanted.buildspec is None or not Path(wanted.buildspec).is_absolute():
        return wanted.buildspec
    file = Path(wanted.buildspec)
    if file.is_relative_to(wanted.directory):
        return str(file.relative_to(wanted.directory))
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="name the buildspec with -f") from error


def build_tree(
    wanted: LocalRun,
    base: Project | None,
    *,
    estate: Estate,
    database: Database,
    recorder: Recorder,
    engine: Engine,
    rewrites: Mapping[str, str],
    intake_for: Callable[[Mapping[str, Project]], Intake],
    new_job: Callable[[Build, StopToken, BinaryIO | None], Job],
) -> Build:
    """Build, and leave nothing behind; return the build as it ended."""
    if not wanted.directory.is_dir():
        raise SourceNotFound(f"{wanted.directory} is not a directory", hint="name the working tree to build")
    sweep(estate, database, recorder, engine, rewrites)
    project = local_project(wanted, base)
    variables = [{"name": name, "value": value} for name, value in (wanted.variables or {}).items()]
    request = BuildRequest(
        project=project.name,
        initiator=current_user(),
        overrides={"environmentVariablesOverride": variables},
    )
    build = intake_for({project.name: project}).submit(request)
    root = estate.of_build(build.uuid).root
    root.mkdir(parents=True)
    with locked(root / _ALIVE, busy=f"{root} belongs to another build"):
        build = recorder.leave(build, Status.SUCCEEDED)  # it does not queue
        job = new_job(build, StopToken(), wanted.console)
        with _stopping(job, wanted.stop):
            travel(job)
    reclaim_tree(engine, root, "", {})
    for arn in job.build.report_arns:
        if report := Reports(database).get(arn):
            wanted.reported(report)
    return job.build


def sweep(estate: Estate, database: Database, recorder: Recorder, engine: Engine, rewrites: Mapping[str, str]) -> None:
    """End and clear away local builds whose process died, and local caches that nobody uses."""
    caches = LocalCaches(estate.caches)
    owners = caches.owners()
    for build in Builds(database).open():
        root = estate.of_build(build.uuid).root
        if root.exists() and not is_locked(root / _ALIVE):
            container = engine.find(build.id)
            if container:
                engine.remove(container)
            for directory in (root, estate.of_build(build.uuid).secrets):
                reclaim_tree(engine, directory, build.project.environment.image, rewrites)
            cut = build.evolve(cause=Cause.STOPPED_BY_USER, advice="run it again")
            ended = recorder.leave(cut, Status.STOPPED, PhaseContext(message="the process that ran it died"))
            recorder.complete(ended, Status.STOPPED)
            Queue(database).remove(build.id)
    running = {build.id for build in Builds(database).open()}
    sweep_caches(
        caches,
        owners,
        running,
        SystemClock().now(),
        lambda path: reclaim_tree(engine, path, Slot(path.parent).image, rewrites),
    )


@contextmanager
def _stopping(job: Job, stop: StopToken) -> Iterator[None]:
    """Pass a stop that the user asks for on to the job, as long as the block runs."""
    over = StopToken()

    def pass_on() -> None:
        while not over.is_set:
            if stop.wait(0.1):
                job.stop_reason = "Build was stopped by the user"
                job.stop_asked.set()
                return

    thread = threading.Thread(target=pass_on, name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _name_of(directory: Path) -> str:
    """Return a project name made of the directory's own."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", directory.resolve().name).strip("-_")[:150]
    if not name:
        return "local"
    return name if len(name) > 1 else f"{name}-local"


def project_of(name: str, projects: Mapping[str, Project], read: Callable[[Path], Mapping[str, Project]]) -> Project:
    """Return the project that `--project NAME|FILE` means. Raises `UsageError` when there is none, or several."""
    if name in projects:
        return projects[name]
    file = Path(name)
    if not file.is_file():
        known = ", ".join(sorted(projects)) or "none"
        raise UsageError(f"there is no project and no file {name!r}", hint=f"projects that are configured: {known}")
    found = read(file)
    if len(found) != 1:
        raise UsageError(f"{name} holds {len(found)} projects", hint="name a file with exactly one")
    return next(iter(found.values()))
