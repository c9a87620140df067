"""A worker, wired as in the daemon, with a CodePipeline that is played; and lives of it that end by a kill."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agent.aws import Aws, Keys
from agent.daemon.intake import Identity, Intake
from agent.kit.service import StopToken
from agent.model.build import Build, ExportedVariable
from agent.model.phase import PhaseContext, PhaseType
from agent.model.project import Artifacts, Project, Source
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.pipelinejobs import PipelineJobs
from agent.store.queue import Queue
from agent.triggers.codepipeline.service import ActionType, JobService
from agent.triggers.codepipeline.worker import Shop, Wishes, Worker
from tests.fakes.codepipeline import CodePipeline, Job, artifact
from tests.fakes.fate import Fate, Mortal, MortalDatabase
from tests.unit.store.samples import ManualClock, a_project

AGENT = "0f1e2d3c"
INPUT = artifact("Source", "in-bucket", "shop/Source/abc", "4f1d")
OUTPUT = artifact("Built", "out-bucket", "shop/Built/xyz")
PROJECT = a_project(source=Source(type="CODEPIPELINE"), artifacts=Artifacts(type="CODEPIPELINE"))
LINK = "https://console/log"


class MortalService(JobService):
    def __init__(self, aws: Aws, fate: Fate) -> None:
        super().__init__(aws)
        self._fate = fate

    def _client(self, attempts: int = 2) -> Any:
        return Mortal(super()._client(attempts), self._fate)


def aws_at(url: str) -> Aws:
    """Return clients of a server, with keys of their own."""
    return Aws(region="us-east-1", endpoint_url=url).with_keys(Keys("AKIAHOST", "host-secret", None))


class Desk:
    """One life of a daemon's part in this, on a database that outlives it."""

    def __init__(
        self,
        directory: Path,
        pipeline: CodePipeline,
        *,
        fate: Fate | None = None,
        project: Project = PROJECT,
        places: int = 3,
        continue_after: float | None = None,
        agent: str = AGENT,
        pool: str | None = None,
        aws: Aws | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        fate = fate or Fate()
        self.pipeline, self.clock, self.places, self.paused = pipeline, clock or ManualClock(), places, False
        self.database = MortalDatabase(directory / "builds.db", fate)
        self.recorder = Recorder(self.database, self.clock)
        self.intake = Intake(
            self.database, self.recorder, {"web": project}.get, lambda: Identity("us-east-1", "1"), self.clock
        )
        self.jobs = PipelineJobs(self.database)
        self.queue = Queue(self.database)
        shop = Shop(
            submit=self.intake.submit,
            build=Builds(self.database).get,
            stop_build=self.queue.ask_to_stop,  # type: ignore[arg-type]
            transaction=partial(self.database.transaction, lasting=True),
            free=lambda: self.places - len(self.queue.places()),
            paused=lambda: self.paused,
            link=lambda _: LINK,
        )
        wishes = Wishes(ActionType("Build", "Own", "1"), pool, 5.0, continue_after)
        service = MortalService(aws or aws_at(pipeline.url), fate)
        self.worker = Worker(service, self.jobs, shop, lambda: wishes, agent, self.clock)

    def turn(self, seconds: float = 40.0) -> None:
        """Let time pass, and let the worker do what there is to do; trouble is raised."""
        self.clock.at += seconds
        if error := self.worker.turn(StopToken()):
            raise error

    @property
    def builds(self) -> list[Build]:
        return Builds(self.database).list()

    def end(self, build: Build, status: Status = Status.SUCCEEDED, message: str = "", **members: Any) -> Build:
        """End a build, whatever phase it is in."""
        context = PhaseContext(status_code="COMMAND_EXECUTION_ERROR" if message else "", message=message)
        build = self.recorder.leave(build.evolve(**members), status, context)
        return self.recorder.complete(build, status)

    def begin(self, build: Build) -> Build:
        """Let a build run its commands."""
        return self.recorder.enter(self.recorder.leave(build, Status.SUCCEEDED), PhaseType.BUILD)

    def close(self) -> None:
        self.database.close()


def offered(pipeline: CodePipeline, **configuration: str) -> Job:
    """Have a job of the project `web` wait."""
    return pipeline.offer({"ProjectName": "web", **configuration}, [INPUT], [OUTPUT])


EXPORTED = (ExportedVariable(name="VERSION", value="1.2"),)
