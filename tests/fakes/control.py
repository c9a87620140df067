"""FakeControl: a daemon without builds of its own; tests say what becomes of each build."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from agent.buildlog.spool import Spool
from agent.daemon.control import DaemonState, ProjectState
from agent.errors import BuildUnknown, ProjectUnknown, RequestInvalid
from agent.model.build import Build
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.project import Environment, EnvironmentVariable, Project, Source
from agent.model.report import Report, ReportDetails, ReportGroup
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.store.database import Database
from agent.store.reports import Reports

ACCOUNT = "123456789012"
REGION = "eu-central-1"
EPOCH = 1_700_000_000.0
TOKEN_SECONDS = 300.0


def fake_arn(resource: str) -> str:
    """Return an ARN of the fake's account and region."""
    return f"arn:aws:codebuild:{REGION}:{ACCOUNT}:{resource}"


def a_project(name: str = "web") -> Project:
    """Return a small project."""
    return Project(
        name=name,
        source=Source(type="GIT", location=f"https://host/{name}.git"),
        environment=Environment(image="debian:12"),
    )


class FakeControl:
    """Obeys `agent.daemon.control.Control`. `time` moves by a second with every new build, and by hand."""

    def __init__(self, directory: Path, projects: Iterable[Project] = ()) -> None:
        self.directory = directory
        self.time = EPOCH
        self.draining = False
        self.reports = Reports(Database(Path(":memory:")))
        self.services = {"scheduler": ""}
        self.broken: list[ProjectState] = []
        self.invalidated: list[str] = []
        self._projects = {project.name: project for project in projects}
        self._builds: dict[str, Build] = {}
        self._tokens: dict[str, tuple[float, BuildRequest, str]] = {}
        self._lock = threading.RLock()

    def start(self, request: BuildRequest, token: str | None = None) -> Build:
        with self._lock:
            project = self._projects.get(request.project)
            if project is None:
                raise ProjectUnknown(f"Project cannot be found: {fake_arn(f'project/{request.project}')}")
            if token and (known := self._known(token, request)):
                return known
            build = self._add(project, request)
            if token:
                self._tokens[token] = (self.time, request, build.id)
            return build

    def stop(self, build: str, by: str = "") -> Build:
        with self._lock:
            found = self.get(build)
            return found if found.complete else self.finish(found.id, Status.STOPPED)

    def retry(self, build: str) -> Build:
        with self._lock:
            old = self.get(build)
            request = BuildRequest(
                project=old.project.name, source_version=old.source_version, initiator="retry", retry_of=old.id
            )
            return self._add(old.project, request)

    def get(self, build: str) -> Build:
        with self._lock:
            wanted = build.rpartition(":build/")[2]
            if wanted in self._builds:
                return self._builds[wanted]
            start = wanted.rpartition(":")[2]
            found = [item for item in self._builds.values() if start and item.uuid.startswith(start)]
            if len(found) > 1:
                raise RequestInvalid(f"{build} means several builds", hint="give more characters of the id")
            if not found:
                raise BuildUnknown(f"Build {build} does not exist")
            return found[0]

    def builds(self, *, project: str | None = None, status: str | None = None, limit: int = 100) -> list[Build]:
        with self._lock:
            newest = reversed(self._builds.values())
            found = [
                build
                for build in newest
                if project in (None, build.project.name) and status in (None, build.status.value)
            ]
            return found[:limit]

    def projects(self) -> list[ProjectState]:
        with self._lock:
            states = [
                ProjectState(name, project, str(self.directory / f"{name}.yml"), last_build=self._last(name))
                for name, project in self._projects.items()
            ]
            return sorted([*states, *self.broken], key=lambda state: state.name)

    def invalidate_cache(self, project: str) -> None:
        if project not in self._projects:
            raise ProjectUnknown(f"there is no project {project}")
        self.invalidated.append(project)

    def log_directory(self, build: str) -> Path:
        return self.directory / self.get(build).uuid

    def write_log(self, build: str, data: bytes) -> None:
        """Add *data* to the log of a build, the way the agent does it."""
        spool = Spool(self.log_directory(build))
        try:
            spool.append(data)
            spool.commit(raw=spool.length, covered=0, said={})
        finally:
            spool.close()
        found = self.get(build)
        self.store(found.evolve(logs=found.logs.evolve(bytes=found.logs.bytes + len(data))))

    def report(self, arn: str) -> Report | None:
        return self.reports.get(arn)

    def report_details(self, arn: str) -> ReportDetails:
        return self.reports.details(arn)

    def report_arns(self, *, group: str | None = None, status: str | None = None) -> list[str]:
        return self.reports.list(group=group, status=status)

    def report_groups(self) -> list[ReportGroup]:
        return self.reports.groups()

    def drain(self) -> DaemonState:
        self.draining = True
        return self.state()

    def resume(self) -> DaemonState:
        self.draining = False
        return self.state()

    def state(self) -> DaemonState:
        with self._lock:
            running = sum(not build.complete for build in self._builds.values())
            return DaemonState("0.0.0", EPOCH, self.draining, running, 0, "fake", dict(self.services))

    def finish(
        self, build: str, status: Status, *, phase: PhaseType = PhaseType.BUILD, context: PhaseContext | None = None
    ) -> Build:
        """End a build: *phase* ended with *status* (FAILED if it timed out, as in the API)."""
        with self._lock:
            found = self.get(build)
            for kind in PhaseType:
                if kind in (PhaseType.SUBMITTED, PhaseType.QUEUED):
                    continue
                found = found.left(self.time, Status.SUCCEEDED).entered(kind, self.time)
                if kind is phase:
                    self.time += 2
                    found = found.left(self.time, status, context)
                    break
            found = found.entered(PhaseType.COMPLETED, self.time)
            final = Status.FAILED if status is Status.TIMED_OUT else status
            return self.store(found.evolve(status=final, end_time=self.time))

    def store(self, build: Build) -> Build:
        """Put *build* in the place of the one with its id."""
        with self._lock:
            self._builds[build.id] = build
            return build

    def _known(self, token: str, request: BuildRequest) -> Build | None:
        at, first, build = self._tokens.get(token, (0.0, request, ""))
        if not build or self.time - at > TOKEN_SECONDS:
            return None
        if first != request:
            raise RequestInvalid(f"Request parameter mismatch for idempotency token {token}")
        return self._builds[build]

    def _add(self, project: Project, request: BuildRequest) -> Build:
        self.time += 1
        number = sum(build.project.name == project.name for build in self._builds.values()) + 1
        serial = len(self._builds) + 1
        build_id = f"{project.name}:{serial:08x}-0000-4000-8000-{serial:012x}"
        submitted = Phase(phase_type=PhaseType.SUBMITTED, start_time=self.time).ended(self.time, Status.SUCCEEDED)
        variables = request.overrides.get("environmentVariablesOverride", ())
        return self.store(
            Build(
                id=build_id,
                arn=fake_arn(f"build/{build_id}"),
                number=number,
                project=project,
                phases=(submitted, Phase(phase_type=PhaseType.QUEUED, start_time=self.time)),
                start_time=self.time,
                initiator=request.initiator,
                source_version=request.source_version,
                overrides=tuple(EnvironmentVariable.model_validate(item) for item in variables),
                source_root="/codebuild/output/src1/src",
                retry_of=request.retry_of,
            )
        )

    def _last(self, project: str) -> Build | None:
        return next(iter(self.builds(project=project, limit=1)), None)
