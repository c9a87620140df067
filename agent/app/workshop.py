"""Workshop: what builds are made with; the same for the daemon and for a local build."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from agent.app.guarding import build_guard
from agent.app.handover import PipelineHandover
from agent.app.keyring import SourceAccess, forget_dead
from agent.aws import FALLBACK_REGION, UNKNOWN_ACCOUNT, Aws, Detour, Proxies
from agent.buildlog.cloudwatch import CloudWatchSink, stream_name
from agent.buildlog.console import ConsoleSink
from agent.buildlog.s3 import ObjectSink, object_key
from agent.buildlog.sink import LogSink
from agent.buildlog.transcript import Transcript
from agent.buildspec.plan import Plan
from agent.cache.local import LocalCaches
from agent.container.docker import DockerEngine
from agent.container.image import RegistryLogins, credential_login
from agent.container.inside import Inside
from agent.container.lookout import DockerLookout
from agent.container.patient import PatientEngine
from agent.container.spec import RegistryLogin
from agent.container.upkeep import DockerUpkeep
from agent.daemon import metadata
from agent.daemon.estate import Estate
from agent.daemon.intake import Identity, Intake
from agent.daemon.roles import RoleDesk
from agent.daemon.whereabouts import Whereabouts
from agent.environment.roles import AssumedRoles
from agent.environment.secrets_manager import SecretsManager
from agent.environment.ssm import ParameterStore
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.build import Build, LogRecord
from agent.model.project import Environment, Project
from agent.objects.location import open_store
from agent.objects.store import Encryption, ObjectStore
from agent.pipeline import masks, proxy
from agent.pipeline.job import Job
from agent.pipeline.recorder import Recorder
from agent.pipeline.toolbox import Toolbox
from agent.settings.schema import Settings
from agent.source.bucket import Buckets
from agent.source.sources import Sources
from agent.source.spares import Spares
from agent.store.database import Database
from agent.store.ledger import Ledger
from agent.store.pipelinejobs import PipelineJobs
from agent.store.pulled import PulledImages
from agent.triggers.codepipeline.service import JobService


def aws_of(settings: Settings) -> Aws:
    aws = settings.aws
    return Aws(region=aws.region, profile=aws.profile, endpoint_url=aws.endpoint_url)


@dataclass
class Workshop:
    """What builds are made with; the same for the daemon and for a local build."""

    settings: Settings
    estate: Estate
    artifacts_to: Path | None = None
    uploads: bool = True
    retry_pauses: tuple[float, ...] = (1.0, 5.0, 15.0)
    projects: Callable[[], Mapping[str, Project]] = dict
    keep_failed: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.aws = aws_of(self.settings)
        self.engine = PatientEngine(DockerEngine(agent_id=self.estate.agent_id))
        self.database = Database(self.estate.database)
        self.recorder = Recorder(self.database, self.clock)
        self.ledger = Ledger(self.database, self.clock)
        self.upkeep = DockerUpkeep()
        self.images = PulledImages(self.database, self.clock, self.upkeep.image_id)
        self.buckets = Buckets(self._open_store)
        others = {"S3": self.buckets.fetch}
        forget_dead(self.estate.keys)
        room = self.estate.keys / str(os.getpid())
        self.access = SourceAccess(self.settings, self.aws, self.clock, room, self._open_store, lambda: self.projects())
        self.spares = Spares(self.estate.spares, kept=self.settings.git.spare_trees, clock=self.clock)
        self.sources = Sources(
            self.estate.mirrors,
            keyring=self.access.accounts,
            ca_file=self.access.ca_file,
            connections=self.access.connections,
            skip=(self.estate.state,),
            others=others,
            spares=self.spares,
        )
        self.logins = RegistryLogins(self._aws_in, self.clock)
        self.caches = LocalCaches(self.estate.caches)
        self.guard = build_guard(self.settings.roles.imds_guard, self.engine, self.clock)
        self.desk = RoleDesk(
            AssumedRoles(self.aws),
            Inside(self.estate.agent_id, room / "inside"),
            self.estate.secrets,
            self.clock,
            find=self.engine.find,
            port=self.settings.roles.port,
        )

    @cached_property
    def identity(self) -> Identity:
        """The region and account in the names of builds; made-up ones where no AWS is in sight."""
        if not self.aws.in_sight():
            return Identity(
                self.settings.aws.region or os.environ.get("AWS_REGION") or FALLBACK_REGION, UNKNOWN_ACCOUNT
            )
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
            caches=self.caches,
            owner=(os.geteuid(), os.getegid()) if unprivileged else None,
            retry_pauses=self.retry_pauses,
            stop_grace=self.settings.builds.stop_grace,
            artifacts_to=self.artifacts_to,
            uploads=self.uploads,
            images=self.images,
            keep_failed=self.keep_failed,
            lookout=DockerLookout(),
            vpc=self.settings.host.vpc,
            locate=Whereabouts(metadata.endpoint(), self.clock).ask,
            roles=self.desk if self.uploads else None,
            guard=self.guard,
            handover=PipelineHandover(
                JobService(self.aws), PipelineJobs(self.database), self.aws, self.ledger, self.clock
            ),
        )

    def intake_for(self, projects: Mapping[str, Project]) -> Intake:
        """Return an intake that knows *projects*; their sources are entered as these say."""
        self.projects = lambda: projects
        return Intake(self.database, self.recorder, projects.get, lambda: self.identity, self.clock)

    def new_job(self, build: Build, letting_go: StopToken, console: BinaryIO | None = None) -> Job:
        """Return *build* ready for its route, with its log open and its sinks running."""
        paths = self.estate.of_build(build.uuid)
        paths.log.mkdir(parents=True, exist_ok=True)
        detour = Detour(self.aws)
        sinks, record = self._sinks(build, detour)
        if console is not None:
            sinks = [*sinks, ConsoleSink(console)]
        known = masks.kept(paths)
        transcript = Transcript(
            paths.log,
            secrets=known,
            sinks=sinks,
            clock=self.clock,
            raw=paths.control / "output",
            registered=paths.registered,
        )
        if build.logs == LogRecord():
            build = self.recorder.save(build.evolve(logs=record))
        job = Job(build, paths, self.tools, self.recorder, transcript, letting_go, ship_log_through=detour.take)
        if job.has_plan:  # an earlier daemon has read the buildspec
            job.lay_log()
        return job

    def reopen_log(self, build: Build) -> Transcript:
        """Return the log of a build that has ended, with its sinks running; all that is masked is masked already."""
        detour = Detour(self.aws)
        with suppress(OSError, ValueError):
            plan = Plan.model_validate_json(self.estate.of_build(build.uuid).plan.read_bytes())
            if proxies := proxy.for_log(build, plan, self.tools):
                detour.take(proxies)
        sinks, _ = self._sinks(build, detour)
        return Transcript(
            self.log_dir(build), secrets=(), sinks=sinks, clock=self.clock, raw=self.estate.state / "no-output"
        )

    def log_dir(self, build: Build) -> Path:
        """Return where the log of a build lies on this host."""
        return self.estate.of_build(build.uuid).log

    def _sinks(self, build: Build, aws: Aws) -> tuple[list[LogSink], LogRecord]:
        if not self.uploads:
            return [], LogRecord()
        sinks: list[LogSink] = []
        record = LogRecord()
        options, wanted = build.project.agent, build.project.logs_config
        watch, objects = wanted.cloud_watch_logs, wanted.s3_logs
        if watch.status == "ENABLED" if watch else self.aws.in_sight():
            group, stream = stream_name(build.project.name, build.uuid, watch)
            sinks.append(
                CloudWatchSink(
                    aws,
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
                open_store(objects.location or "", aws, self.ledger), object_key("", build.uuid), encryption=encryption
            )
            sinks.append(sink)
            record = record.evolve(s3_location=sink.location)
        return sinks, record

    def _open_store(self, location: str, proxies: Proxies | None = None) -> ObjectStore:
        return open_store(location, self.aws.through(proxies) if proxies else self.aws, self.ledger)

    def _aws_in(self, region: str) -> Aws:
        aws = self.settings.aws
        return Aws(region=region, profile=aws.profile, endpoint_url=aws.endpoint_url)

    def _login(self, environment: Environment, reference: str) -> RegistryLogin | None:
        if environment.registry_credential:
            return credential_login(self.aws, environment.registry_credential)
        return self.logins.login_for(reference)


def _may_read_everything() -> bool:
    """Whether this process has CAP_DAC_OVERRIDE, so that files of root need not be given back."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective >> 1 & 1)
