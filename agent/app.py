"""Composition root: settings in, a wired daemon or one local build out. The only file that names concrete classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from agent.aws import FALLBACK_REGION, UNKNOWN_ACCOUNT, Aws
from agent.buildlog.cloudwatch import CloudWatchSink
from agent.buildlog.console import ConsoleSink
from agent.buildlog.s3 import ObjectSink, object_key
from agent.buildlog.sink import LogSink
from agent.buildlog.transcript import Transcript
from agent.container.docker import DockerEngine
from agent.container.image import RegistryLogins, credential_login
from agent.container.spec import RegistryLogin
from agent.daemon import doctor, local
from agent.daemon.control import ProjectState
from agent.daemon.doctor import Check
from agent.daemon.estate import Estate, locked
from agent.daemon.intake import Identity, Intake
from agent.daemon.janitor import Janitor
from agent.daemon.local import LocalRun
from agent.daemon.policy import Limits
from agent.daemon.reception import Reception
from agent.daemon.scheduler import Scheduler
from agent.daemon.supervisor import Supervisor
from agent.daemon.watchdog import Watchdog
from agent.environment.secrets_manager import SecretsManager
from agent.environment.ssm import ParameterStore
from agent.errors import BuildspecdError, SettingsInvalid
from agent.kit.clock import SystemClock
from agent.kit.logging import configure, get_logger
from agent.kit.sdnotify import Notifier
from agent.kit.service import Service, StopToken
from agent.model.build import Build, LogRecord
from agent.model.project import Environment, Project, Source
from agent.notify import delivery
from agent.notify.cloudwatch import CloudWatch
from agent.notify.eventbridge import EventBridge
from agent.objects.location import open_store
from agent.objects.store import Encryption, ObjectStore
from agent.pipeline.job import Job
from agent.pipeline.recorder import Recorder
from agent.pipeline.steps import reclaim_tree
from agent.pipeline.toolbox import Toolbox
from agent.settings.live import LiveConfiguration
from agent.settings.reload import SettingsWatch
from agent.settings.projects import projects_in
from agent.settings.schema import Settings
from agent.source.sources import Sources
from agent.store.builds import Builds
from agent.store.cursors import Cursors
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.triggers.filewatch import FileWatch, watch_tree
from agent.triggers.poll import Poll, PollTarget
from agent.web.server import ControlServer, HttpServer

__all__ = ["Check", "LocalRun", "check_host", "run_local", "serve"]

_log = get_logger("app")
_FAREWELL_SECONDS = 20.0


def serve(config: Path | None, stop: StopToken) -> None:
    """Run the daemon until *stop* is set; running builds go on without it. Raises `BuildspecdError`."""
    live = LiveConfiguration(config)
    configure(level=live.settings.log.level, format=live.settings.log.format)
    estate = Estate.at(live.settings.state_dir, live.settings.runtime_dir)
    with locked(estate.state / "lock", busy=f"{estate.state} belongs to a daemon that runs"):
        Daemon(live, estate).run(stop)


def run_local(wanted: LocalRun) -> Build:
    """Build a working tree here, on the daemon's own route; return the build as it ended. Raises `BuildspecdError`."""
    configure(level="error", format="console")
    live = LiveConfiguration(wanted.config)
    estate = Estate.at(local.state_dir(), live.settings.runtime_dir)
    workshop = Workshop(live.settings, estate, artifacts_to=wanted.artifacts, uploads=False)
    named = local.project_of(wanted.project, live.projects, projects_in) if wanted.project else None
    return local.build_tree(
        wanted,
        named,
        estate=estate,
        database=workshop.database,
        recorder=workshop.recorder,
        engine=workshop.engine,
        intake_for=workshop.intake_for,
        new_job=workshop.new_job,
    )


def check_host(config: Path | None) -> list[Check]:
    """Look at this host and the configuration; one `Check` for each thing looked at."""
    try:
        live = LiveConfiguration(config)
    except SettingsInvalid as error:
        return [Check("configuration", "fail", str(problem), "mend the file") for problem in error.problems]
    aws = _aws(live.settings)
    return doctor.examine(
        doctor.Host(
            engine=DockerEngine(),
            state=live.settings.state_dir,
            runtime=live.settings.runtime_dir,
            account=aws.identify if aws.in_sight() else None,
            problems=[str(problem) for problem in live.problems],
            projects=list(live.projects.values()),
        )
    )


def _aws(settings: Settings) -> Aws:
    aws = settings.aws
    return Aws(region=aws.region, profile=aws.profile, endpoint_url=aws.endpoint_url)


@dataclass
class Workshop:
    """What builds are made with; the same for the daemon and for a local build."""

    settings: Settings
    estate: Estate
    artifacts_to: Path | None = None
    uploads: bool = True

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.aws = _aws(self.settings)
        self.engine = DockerEngine()
        self.database = Database(self.estate.database)
        self.recorder = Recorder(self.database, self.clock)
        self.sources = Sources(self.estate.mirrors, skip=(self.estate.state,))
        self.logins = RegistryLogins(self._aws_in, self.clock)

    @cached_property
    def identity(self) -> Identity:
        """The region and account in the names of builds; made-up ones where no AWS is in sight."""
        if not self.aws.in_sight():
            return Identity(self.settings.aws.region or os.environ.get("AWS_REGION") or FALLBACK_REGION, UNKNOWN_ACCOUNT)
        return Identity(self.aws.region, self.aws.account)

    @cached_property
    def tools(self) -> Toolbox:
        """The capabilities that all builds share."""
        unprivileged = os.geteuid() != 0 and not _may_read_everything()
        return Toolbox(
            clock=self.clock,
            engine=self.engine,
            rewrites=self.settings.images.rewrite,
            login=self._login,
            sources=self.sources,
            parameters=ParameterStore(self.aws),
            secrets=SecretsManager(self.aws),
            open_store=self._open_store,
            agent_id=self.estate.agent_id,
            region=self.identity.region,
            owner=(os.geteuid(), os.getegid()) if unprivileged else None,
            stop_grace=self.settings.builds.stop_grace,
            artifacts_to=self.artifacts_to,
            uploads=self.uploads,
        )

    def intake_for(self, projects: Mapping[str, Project]) -> Intake:
        """Return an intake that knows *projects*."""
        return Intake(self.database, self.recorder, projects.get, lambda: self.identity, self.clock)

    def new_job(self, build: Build, letting_go: StopToken, console: BinaryIO | None = None) -> Job:
        """Return *build* ready for its route, with its log open and its sinks running."""
        paths = self.estate.of_build(build.uuid)
        paths.log.mkdir(parents=True, exist_ok=True)
        sinks, record = self._sinks(build)
        if console is not None:
            sinks = [*sinks, ConsoleSink(console)]
        transcript = Transcript(
            paths.log, secrets=(), sinks=sinks, clock=self.clock, raw=paths.control / "output"
        )
        if build.logs == LogRecord():
            build = self.recorder.save(build.evolve(logs=record))
        return Job(build, paths, self.tools, self.recorder, transcript, letting_go)

    def _sinks(self, build: Build) -> tuple[list[LogSink], LogRecord]:
        if not self.uploads:
            return [], LogRecord()
        sinks: list[LogSink] = []
        record = LogRecord()
        options, wanted = build.project.agent, build.project.logs_config
        watch, objects = wanted.cloud_watch_logs, wanted.s3_logs
        if watch.status == "ENABLED" if watch else self.aws.in_sight():
            group = (watch.group_name if watch else None) or f"/aws/codebuild/{build.project.name}"
            prefix = (watch.stream_name if watch else None) or ""
            stream = f"{prefix}/{build.uuid}" if prefix else build.uuid
            sinks.append(
                CloudWatchSink(
                    self.aws,
                    group=group,
                    stream=stream,
                    clock=self.clock,
                    retention_days=options.log_retention_days,
                    kms_key=options.log_kms_key,
                )
            )
            record = record.evolve(group_name=group, stream_name=stream)
        if objects and objects.status == "ENABLED":
            encryption = Encryption(enabled=not objects.encryption_disabled, key=build.project.encryption_key)
            sink = ObjectSink(
                self._open_store(objects.location or ""), object_key("", build.uuid), encryption=encryption
            )
            sinks.append(sink)
            record = record.evolve(s3_location=sink.location)
        return sinks, record

    def _open_store(self, location: str) -> ObjectStore:
        return open_store(location, self.aws)

    def _aws_in(self, region: str) -> Aws:
        aws = self.settings.aws
        return Aws(region=region, profile=aws.profile, endpoint_url=aws.endpoint_url)

    def _login(self, environment: Environment, reference: str) -> RegistryLogin | None:
        if environment.registry_credential:
            return credential_login(self.aws, environment.registry_credential)
        return self.logins.login_for(reference)


class Daemon:
    """Everything that runs in `buildspecd serve`."""

    def __init__(self, live: LiveConfiguration, estate: Estate) -> None:
        self._live = live
        self._estate = estate
        self._workshop = workshop = Workshop(live.settings, estate)
        self._poll_troubles: dict[str, str] = {}
        self._scheduler = Scheduler(
            owner=estate.agent_id,
            database=workshop.database,
            recorder=workshop.recorder,
            limits=self._limits,
            new_job=workshop.new_job,
            clock=workshop.clock,
        )
        self._intake = Intake(
            workshop.database,
            workshop.recorder,
            lambda name: live.projects.get(name.rpartition(":project/")[2]),
            lambda: workshop.identity,
            workshop.clock,
            wake=self._scheduler.wake,
        )
        self._notifier = Notifier()
        self._supervisor = Supervisor(self._services(), workshop.clock)

    def run(self, stop: StopToken) -> None:
        """Run every service until *stop*; let go of running builds."""
        _log.info("starting", state_dir=str(self._estate.state), projects=len(self._live.projects))
        for problem in self._live.problems:
            _log.warning("configuration", problem=str(problem))
        self._supervisor.start(stop)
        self._notifier.ready(f"{len(self._live.projects)} projects")
        stop.wait()
        self._notifier.stopping("letting go of running builds")
        late = self._supervisor.wait(_FAREWELL_SECONDS)
        if late:
            _log.warning("services did not end in time", services=late)
        _log.info("ended")

    def _services(self) -> list[Service]:
        workshop, live = self._workshop, self._live
        poll = Poll(
            projects=self._targets,
            submit=self._intake.submit,
            cursors=Cursors(workshop.database),
            heads=workshop.sources.heads,
            change=self._change,
            clock=workshop.clock,
            report=self._report,
        )
        reception = Reception(
            workshop.database,
            self._intake,
            self._scheduler,
            self._project_states,
            self._estate.builds,
            workshop.clock.now(),
            self._engine_version,
            lambda: self._supervisor.troubles,
        )
        janitor = Janitor(
            self._estate.agent_id,
            workshop.database,
            workshop.engine,
            self._estate.builds,
            self._estate.secrets,
            self._reclaim,
            workshop.clock,
        )
        return [
            self._scheduler,
            poll,
            FileWatch(projects=self._targets, look_now=poll.look_now),
            SettingsWatch(live, watch_tree, self._took_up, self._notifier),
            janitor,
            ControlServer(reception, self._estate.state, lambda resource: workshop.identity.arn(resource)),
            HttpServer(reception, live.settings.http.host, live.settings.http.port),
            Watchdog(self._notifier, lambda: self._supervisor.alive),
            *delivery.services(Outbox(workshop.database), self._sinks_of_events(), workshop.clock),
        ]

    def _sinks_of_events(self) -> Sequence[delivery.Sink]:
        settings, aws = self._live.settings, self._workshop.aws
        if not aws.in_sight():
            return []
        sinks: list[delivery.Sink] = []
        if settings.events.bus:
            sinks.append(EventBridge(aws, bus=settings.events.bus, source=settings.events.source))
        if settings.metrics.namespace:
            sinks.append(CloudWatch(aws, namespace=settings.metrics.namespace))
        return sinks

    def _limits(self) -> Limits:
        projects = self._live.projects

        def of_project(name: str) -> int | None:
            project = projects.get(name)
            return (project.agent.max_concurrent or project.concurrent_build_limit) if project else None

        return Limits(self._live.settings.builds.max_concurrent, of_project)

    def _targets(self) -> list[PollTarget]:
        every = self._live.settings.poll.every
        projects = self._live.projects.values()
        return [PollTarget(project, every if project.agent.poll is None else project.agent.poll) for project in projects]

    def _change(self, source: Source, ref: str, old: str | None, new: str) -> tuple[Sequence[str], str]:
        change = self._workshop.sources.change(source, ref, old, new)
        return change.paths, change.message

    def _report(self, project: str, error: BuildspecdError | None) -> None:
        if error is None:
            self._poll_troubles.pop(project, None)
        elif self._poll_troubles.get(project) != error.message:
            self._poll_troubles[project] = error.message
            _log.warning("cannot look at a source", project=project, error=error.message, hint=error.hint)

    def _project_states(self) -> list[ProjectState]:
        builds = Builds(self._workshop.database)
        return self._live.states(builds.last_of, self._poll_troubles)

    def _reclaim(self, path: Path) -> None:
        """Remove what a build left; its image helps where its files are root's."""
        known = Builds(self._workshop.database).matching(path.parent.name)
        reclaim_tree(self._workshop.engine, path, known[0].project.environment.image if known else "")

    def _took_up(self) -> None:
        self._scheduler.wake()

    def _engine_version(self) -> str:
        try:
            return self._workshop.engine.facts().version
        except BuildspecdError:
            return ""


def _may_read_everything() -> bool:
    """Whether this process has CAP_DAC_OVERRIDE, so that files of root need not be given back."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective >> 1 & 1)
