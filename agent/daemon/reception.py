"""Reception: answers what is asked of the running daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import __version__
from agent.daemon.control import ConfigState, DaemonState, ProjectState
from agent.daemon.intake import Intake, one_build
from agent.daemon.scheduler import Scheduler
from agent.errors import ProjectUnknown, Unavailable
from agent.model.build import Build
from agent.model.phase import PhaseType
from agent.model.report import Report, ReportDetails, ReportGroup
from agent.model.request import BuildRequest
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Queue
from agent.store.reports import Reports
from agent.store.requests import Requests


@dataclass
class Reception:
    """The Control of a running daemon."""

    database: Database
    intake: Intake
    scheduler: Scheduler
    project_states: Callable[[], list[ProjectState]]
    builds_dir: Path
    started: float
    engine_version: Callable[[], str]
    troubles: Callable[[], Mapping[str, str]]
    invalidate: Callable[[str], object]
    config: Callable[[], ConfigState | None] = lambda: None
    kept_workspace: Callable[[Build], str | None] = lambda _: None

    def start(self, request: BuildRequest, token: str | None = None) -> Build:
        """See `Control.start`."""
        self._must_stay()
        return self.intake.submit(request, token)

    def stop(self, build: str, by: str = "") -> Build:
        """See `Control.stop`."""
        found = one_build(self.database, build)
        if not found.complete:
            self.scheduler.stop_build(found.id, f"Build was stopped by {by or 'a user'}")
        return found

    def retry(self, build: str) -> Build:
        """See `Control.retry`."""
        self._must_stay()
        return self.intake.again(one_build(self.database, build))

    def get(self, build: str) -> Build:
        """See `Control.get`."""
        found = self._explained(one_build(self.database, build))
        if found.source_version is None:
            return found
        passed = Requests(self.database).passed(found.project.name, found.source_version)
        ours = [one for one in passed if one.ref == found.source_ref]
        return found.evolve(passed_over=tuple(f"{one.old or '-'}..{one.new}" for one in ours))

    def builds(self, *, project: str | None = None, status: str | None = None, limit: int = 100) -> list[Build]:
        """See `Control.builds`."""
        return [self._explained(one) for one in Builds(self.database).list(project=project, status=status, limit=limit)]

    def _explained(self, build: Build) -> Build:
        """Return *build* with what only a running daemon knows of it."""
        waits = self.scheduler.held if build.current_phase is PhaseType.QUEUED and self.scheduler.held else None
        return build.evolve(waits_for=waits, kept_workspace=self.kept_workspace(build))

    def projects(self) -> list[ProjectState]:
        """See `Control.projects`."""
        return sorted(self.project_states(), key=lambda state: state.name)

    def invalidate_cache(self, project: str) -> None:
        """See `Control.invalidate_cache`."""
        if project not in {state.name for state in self.project_states()}:
            raise ProjectUnknown(
                f"there is no project {project}", hint="`buildspecd projects list` shows the projects of this agent"
            )
        self.invalidate(project)

    def log_directory(self, build: str) -> Path:
        """See `Control.log_directory`."""
        return self.builds_dir / one_build(self.database, build).uuid / "log"

    def report(self, arn: str) -> Report | None:
        """See `Control.report`."""
        return Reports(self.database).get(arn)

    def report_details(self, arn: str) -> ReportDetails:
        """See `Control.report_details`."""
        return Reports(self.database).details(arn)

    def report_arns(self, *, group: str | None = None, status: str | None = None) -> list[str]:
        """See `Control.report_arns`."""
        return Reports(self.database).list(group=group, status=status)

    def report_groups(self) -> list[ReportGroup]:
        """See `Control.report_groups`."""
        return Reports(self.database).groups()

    def drain(self) -> DaemonState:
        """See `Control.drain`."""
        self.scheduler.gate.drain()
        return self.state()

    def resume(self) -> DaemonState:
        """See `Control.resume`."""
        self.scheduler.gate.resume()
        self.scheduler.wake()
        return self.state()

    def state(self) -> DaemonState:
        """See `Control.state`."""
        places = Queue(self.database).places()
        running = sum(1 for place in places if place.owner)
        return DaemonState(
            version=__version__,
            started=self.started,
            draining=self.scheduler.gate.shut,
            running=running,
            queued=len(places) - running,
            engine=self.engine_version(),
            services=dict(self.troubles()),
            config=self.config(),
        )

    def _must_stay(self) -> None:
        """Raise `Unavailable` when this host goes away, and a new build would go with it."""
        if leaving := self.scheduler.gate.leaving:
            raise Unavailable(f"no build begins here any more: {leaving.reason}", hint="ask another agent")
