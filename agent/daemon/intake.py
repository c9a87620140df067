"""Intake: a BuildRequest becomes a checked, numbered, stored and queued Build, once."""

from __future__ import annotations

import getpass
import hashlib
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.daemon.overrides import effective, variables
from agent.daemon.policy import superseded
from agent.errors import BuildUnknown, ProjectUnknown, RequestInvalid, SourceRefused
from agent.kit.clock import Clock
from agent.model.build import AutoRetry, Build
from agent.model.cause import SUPERSEDED_BY
from agent.model.phase import Phase, PhaseType
from agent.model.project import EVERY_REPOSITORY, GIT_TYPES, Project, Source
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.source import url
from agent.source import version as versions
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Queue
from agent.store.requests import Requests

TOKEN_SECONDS = 300.0


@dataclass(frozen=True)
class Identity:
    """What the names of builds are made of. Partition follows from the region."""

    region: str
    account: str

    def arn(self, resource: str) -> str:
        """Return the CodeBuild ARN of *resource* (`build/...`, `project/...`; service.md 1.1)."""
        partition = "aws"
        if self.region.startswith(("cn-", "us-gov-")):
            partition = f"aws-{'cn' if self.region.startswith('cn-') else 'us-gov'}"
        return f"arn:{partition}:codebuild:{self.region}:{self.account}:{resource}"


@dataclass
class Intake:
    """Takes requests in. Any thread may call it; `wake` is called after every new build."""

    database: Database
    recorder: Recorder
    projects: Callable[[str], Project | None]
    identity: Callable[[], Identity]
    clock: Clock
    wake: Callable[[], None] = lambda: None
    new_uuid: Callable[[], uuid.UUID] = uuid.uuid4
    chance: random.Random = field(default_factory=random.SystemRandom)

    def submit(self, request: BuildRequest, token: str | None = None) -> Build:
        """Store and queue a build, or return the one that the same request made before.

        It is on the disk when this returns, so that a trigger may forget it. Raises `ProjectUnknown`, or
        `RequestInvalid` for overrides that make no sense and for a token that was used with another request
        (service.md 5.4).
        """
        project = self.projects(request.project)
        if project is None:
            raise ProjectUnknown(
                f"Project cannot be found: {self.identity().arn(f'project/{request.project}')}",
                hint="`buildspecd projects list` shows the projects of this agent",
            )
        wanted = effective(project, request.overrides)
        if wanted.source.location == EVERY_REPOSITORY:
            raise RequestInvalid(
                f"{project.name} builds any repository of its webhook's scope, and this request names none",
                hint="say which: sourceLocationOverride",
            )
        if request.pipeline is None and "CODEPIPELINE" in (wanted.source.type, wanted.artifacts.type):
            raise RequestInvalid(
                f"{project.name} is built by a pipeline: its source or its artifacts are of type CODEPIPELINE",
                hint="start the pipeline, or override source and artifacts (sourceTypeOverride, artifactsOverride)",
            )
        return self._store(request, wanted, token)

    def again(self, old: Build) -> Build:
        """Store and queue a new build with the effective parameters of *old* (`RetryBuild`); it begins a chain anew."""
        if old.pipeline is not None:
            raise RequestInvalid(
                f"Build {old.id} was made for a job of the pipeline {old.pipeline.pipeline}, which is over",
                hint="retry the stage in CodePipeline: it hands out a job of its own",
            )
        return self._repeat(old, current_user(), AutoRetry())

    def once_more(self, failed: Build, initiator: str) -> Build:
        """Store and queue the automatic retry of *failed* (`autoRetryLimit`)."""
        return self._repeat(failed, initiator, AutoRetry(number=failed.auto_retry.number + 1, previous=failed.arn))

    def _repeat(self, old: Build, initiator: str, chain: AutoRetry) -> Build:
        """Store and queue *old* once more. What is repeated is an old commit: it takes no newer build's place."""
        with self.database.transaction(lasting=True):
            build = self._made(repeated(old, initiator), old.project).evolve(auto_retry=chain)
            build = self.recorder.add(build)
        self.wake()
        return build

    def _store(self, request: BuildRequest, project: Project, token: str | None) -> Build:
        with self.database.transaction(lasting=True):
            known = self._known(request, token)
            if known:
                return known
            build = self.recorder.add(self._made(request, project))
            takes_over = project.agent.supersede != "none" and not self._is_late(request)
            self._remember(request, token, build)
            if takes_over:
                self._supersede(build, request)
        self.wake()
        return build

    def _known(self, request: BuildRequest, token: str | None) -> Build | None:
        requests, builds = Requests(self.database), Builds(self.database)
        if request.dedupe_key and (found := requests.find(request.dedupe_key)):
            return builds.get(found[0])
        if request.dedupe_key and (arrived := requests.arrival(request.dedupe_key)):
            requests.pass_over(request.dedupe_key, None, self.clock.now())
            return builds.get(arrived)
        if token and (found := requests.find(f"token:{token}", self.clock.now() - TOKEN_SECONDS)):
            if found[1] != _fingerprint(request):
                raise RequestInvalid(f"Request parameter mismatch for idempotency token {token}")
            return builds.get(found[0])
        return None

    def _is_late(self, request: BuildRequest) -> bool:
        """Whether a newer push of the same ref was asked for before this one, which then takes nobody's place."""
        return request.dedupe_key is not None and Requests(self.database).is_late(request.dedupe_key)

    def _remember(self, request: BuildRequest, token: str | None, build: Build) -> None:
        requests, now = Requests(self.database), self.clock.now()
        if request.dedupe_key:
            requests.remember(request.dedupe_key, build.id, "", now)
        if token:
            requests.remember(f"token:{token}", build.id, _fingerprint(request), now)

    def _made(self, request: BuildRequest, project: Project) -> Build:
        now = self.clock.now()
        build_id = f"{project.name}:{self.new_uuid()}"
        submitted = Phase(phase_type=PhaseType.SUBMITTED, start_time=now).ended(now, Status.SUCCEEDED)
        return Build(
            id=build_id,
            arn=self.identity().arn(f"build/{build_id}"),
            number=Builds(self.database).next_number(project.name),
            project=without_logins(project),
            phases=(submitted, Phase(phase_type=PhaseType.QUEUED, start_time=now)),
            start_time=now,
            initiator=request.initiator,
            source_version=request.source_version or project.source_version,
            resolved_source_version=request.revision,
            source_ref=request.source_ref,
            previous_revision=request.previous_revision,
            overrides=variables(request.overrides),
            source_root=f"/codebuild/output/src{self.chance.randrange(10**8, 10**10)}",
            retry_of=request.retry_of,
            webhook=request.webhook,
            pipeline=request.pipeline,
        )

    def _supersede(self, build: Build, request: BuildRequest) -> None:
        """Stop the older builds of the branch; one of a push is older where that is known (`Requests.unrelated`)."""
        queue = Queue(self.database)
        kept = Requests(self.database).unrelated(request.dedupe_key) - {build.id} if request.dedupe_key else set()
        places = [place for place in queue.places() if place.build not in kept]
        newer = next(place for place in places if place.build == build.id)
        webhook, builds = build.project.webhook, Builds(self.database)
        is_scoped = webhook is not None and webhook.scope_configuration is not None
        for place in superseded(newer, places, build.project.agent.supersede):
            older = builds.get(place.build) if is_scoped else None
            if older is not None and older.project.source.location != build.project.source.location:
                continue  # a branch of the same name, of another repository
            queue.ask_to_stop(place.build, f"{SUPERSEDED_BY}build {build.number} of the same branch")


def without_logins(project: Project) -> Project:
    """Return *project* as a build's record keeps it: no login is written into the location of a source. Pure."""
    secondary = tuple(_plain(source) for source in project.secondary_sources)
    return project.evolve(source=_plain(project.source), secondary_sources=secondary)


def _plain(source: Source) -> Source:
    if source.type not in GIT_TYPES or "@" not in (source.location or ""):
        return source
    try:
        address, login = url.parse(source.location or "")
    except SourceRefused:  # the build says so, and not whoever asked for it
        return source
    return source.evolve(location=address.text) if login else source


def repeated(old: Build, initiator: str) -> BuildRequest:
    """Return what asks for *old* once more, of the very commit that it built. Pure."""
    named = versions.is_pull_request(old.source_version)
    return BuildRequest(
        project=old.project.name,
        source_version=old.source_version if named else old.resolved_source_version or old.source_version,
        revision=old.resolved_source_version if named else None,
        source_ref=old.source_ref,
        previous_revision=old.previous_revision,
        initiator=initiator,
        overrides={"environmentVariablesOverride": [item.wire() for item in old.overrides]},
        retry_of=old.id,
        webhook=old.webhook,
    )


def one_build(database: Database, name: str) -> Build:
    """Return the one build that *name* means. Raises `BuildUnknown`, or `RequestInvalid` when it means several."""
    found = Builds(database).matching(name)
    if not found:
        raise BuildUnknown(f"Build {name} does not exist", hint="`buildspecd builds` lists them")
    if len(found) > 1:
        several = ", ".join(build.uuid[:13] for build in found[:5])
        raise RequestInvalid(f"{name} means several builds: {several}", hint="give more characters of the id")
    return found[0]


def current_user() -> str:
    """Return the name of the user who runs this process; the initiator of what a person starts by hand."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _fingerprint(request: BuildRequest) -> str:
    document = request.model_dump(mode="json", exclude={"initiator"})
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
