"""Job: the one mutable object, which every step of a build's route is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agent.aws import Proxies
from agent.buildlog.transcript import Transcript
from agent.buildspec.plan import Plan
from agent.container.lookout import Survey
from agent.errors import BuildspecdError
from agent.kit.clock import Elapsed
from agent.kit.heed import Errand
from agent.kit.service import StopToken
from agent.model import cause as causes
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.phase import PhaseContext, PhaseType
from agent.model.status import Status
from agent.pipeline import proxy
from agent.pipeline.prefetch import Prefetch
from agent.pipeline.recorder import Recorder
from agent.pipeline.toolbox import Toolbox

_COMMANDS = "run phases"
"""The step of the route that the driver walks."""


class LetGo(Exception):
    """The daemon is going down; the build is left as it is, for the next one to attach to."""


class Cut(Exception):
    """The build was stopped or ran out of time; says how its running phase ends, and why.

    *grace* is how many seconds its processes have to end by themselves; None: what the settings say.
    """

    def __init__(self, status: Status, context: PhaseContext, cause: Cause, *, grace: float | None = None) -> None:
        super().__init__(context.message)
        self.grace = grace
        self.status = status
        self.context = context
        self.cause = cause


@dataclass(frozen=True)
class Paths:
    """Where a build lives on the host. `secrets` lies on a tmpfs; of it the container sees `handed`."""

    root: Path
    secrets: Path

    @property
    def handed(self) -> Path:
        """Where variables lie until the driver has read them."""
        return self.secrets / "handed"

    @property
    def masked(self) -> Path:
        """What the log must not show, for a daemon that takes this build over."""
        return self.secrets / "masked.json"

    @property
    def registered(self) -> Path:
        """What the build itself asks to be masked (docs/JOURNAL.md 3)."""
        return self.handed / "registered"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def workspace(self) -> Path:
        """Seen by the build as `Build.source_root`."""
        return self.root / "workspace"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def scratch(self) -> Path:
        """Files of ours on their way: sources from S3, artifacts before upload, the cache's manifest."""
        return self.root / "out"


@dataclass
class Job:
    """One build on its route. Owned by one thread; `stop_asked` and `letting_go` are set by others."""

    build: Build
    paths: Paths
    tools: Toolbox
    recorder: Recorder
    transcript: Transcript
    letting_go: StopToken
    stop_asked: StopToken = field(default_factory=StopToken)
    stop_reason: str = ""
    cut_short: Cut | None = None
    """Set by others, once: the build is not to go on, and how that ends it."""
    container: str | None = None
    prefetch: Prefetch | None = None
    outlook: Errand[Survey] | None = None
    """What is being connected to from the container's network (`preflight`)."""
    looked_out: bool = False
    ship_log_through: Callable[[Proxies], None] = lambda _: None
    _plan: Plan | None = None
    _spent: Elapsed | None = None

    @property
    def plan(self) -> Plan:
        """The plan of this build, read back from disk after a restart. Raises `BuildspecdError` when it is damaged."""
        if self._plan is None:
            try:
                self._plan = Plan.model_validate_json(self.paths.plan.read_bytes())
            except (OSError, ValidationError) as error:
                why = error.strerror if isinstance(error, OSError) else _first_of(error)
                raise BuildspecdError(
                    f"{self.paths.plan} cannot be read any more: {why}",
                    hint="was the disk full or damaged, or did a newer buildspecd write it? start the build again",
                    code="STATE_DAMAGED",
                    cause=Cause.STATE_DAMAGED,
                ) from error
        return self._plan

    @property
    def has_plan(self) -> bool:
        """Whether the buildspec has been read, and its plan can still be."""
        try:
            return bool(self.plan)
        except BuildspecdError:
            return False

    def start_anew(self, build: Build) -> None:
        """Be about *build*, which has yet to be provisioned again; the container before is forgotten."""
        self.build, self.container, self.prefetch, self._plan = build, None, None, None

    def lay_log(self) -> None:
        """Have the log take the way that the buildspec wants, from now on."""
        if proxies := proxy.for_log(self.build, self.plan, self.tools):
            self.ship_log_through(proxies)

    @property
    def verdict(self) -> Status:
        """How the build stands by its phases: IN_PROGRESS while nothing has gone wrong."""
        return verdict(self.build, self.forgiven)

    @property
    def forgiven(self) -> frozenset[PhaseType]:
        """Phases whose failure does not count, by the project's switch for `on-failure: CONTINUE`."""
        if self.build.project.agent.continue_fails_build or not self.has_plan:
            return frozenset()
        return frozenset(item.phase for item in self.plan.phases if item.on_failure.action == "CONTINUE")

    @property
    def time_left(self) -> float:
        """Seconds until the build's time is over; its clock starts with PROVISIONING.

        It stops when the commands have ended: a daemon that was away must not cost a build that ended in time.
        """
        started = self.build.phase(PhaseType.PROVISIONING)
        if started is None or _COMMANDS in self.build.steps_done:
            return math.inf
        if self._spent is None:
            self._spent = Elapsed(self.tools.clock, started.start_time, self.build.set_out)
        return self.build.project.timeout_in_minutes * 60 - self._spent.seconds

    def check(self) -> None:
        """Raise `LetGo` or `Cut` when this build is not to go on now. Every long wait calls it."""
        if self.letting_go.is_set:
            raise LetGo
        if self.cut_short is not None:
            raise self.cut_short
        if self.stop_asked.is_set:
            raise Cut(Status.STOPPED, PhaseContext(message=self.stop_reason), causes.of_stop(self.stop_reason))
        if self.time_left <= 0:
            context = PhaseContext(status_code="BUILD_TIMED_OUT", message="Build has timed out.")
            raise Cut(Status.TIMED_OUT, context, timed_out_in(self.build.current_phase))

    def blame(self, cause: Cause, advice: str = "", status: Status = Status.FAILED) -> None:
        """Remember why the build goes wrong, and what to do about that; the first cause stays.

        But a build that was red by its user's doing, and now ends FAULT, is one for the cause of that: status and
        cause say the same.
        """
        before = self.build.cause
        graver = status is Status.FAULT and before is not None and causes.EXPLANATIONS[before].whose == "user"
        if before is None or graver:
            self.build = self.build.evolve(cause=cause, advice=advice or causes.EXPLANATIONS[cause].advice)

    @property
    def unwanted(self) -> bool:
        """Whether `check` would raise."""
        return self.letting_go.is_set or self.stop_asked.is_set or self.time_left <= 0

    @property
    def keeps_workspace(self) -> bool:
        """Whether the workspace outlives the build, for whoever wants to look at it; not where the disk was full."""
        full = self.build.cause in (Cause.DISK_QUOTA_EXCEEDED, Cause.HOST_DISK_FULL)
        return self.tools.keep_failed() and self.verdict in (Status.FAILED, Status.FAULT) and not full

    def progress(self, text: str) -> None:
        """Write a line of something long, unless the build is not to go on."""
        self.check()
        self.transcript.plain(text)

    def say(self, text: str) -> None:
        """Write a line of CodeBuild's shape into the log."""
        self.transcript.say(text)


def timed_out_in(phase: PhaseType) -> Cause:
    """Return the cause of a build whose time was over in *phase*. Pure."""
    early = {
        PhaseType.QUEUED: Cause.TIMED_OUT_QUEUED,
        PhaseType.PROVISIONING: Cause.TIMED_OUT_PROVISIONING,
        PhaseType.DOWNLOAD_SOURCE: Cause.TIMED_OUT_SOURCE,
    }
    return early.get(phase, Cause.TIMED_OUT_COMMANDS)


def _first_of(error: ValidationError) -> str:
    """Return the first mistake of a document, in one line."""
    found = error.errors(include_url=False)[0]
    return ": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"])))


_GRAVITY = (Status.STOPPED, Status.FAULT, Status.TIMED_OUT, Status.FAILED)


def verdict(build: Build, forgiven: frozenset[PhaseType] = frozenset()) -> Status:
    """Return the gravest status of the build's phases; IN_PROGRESS when none has gone wrong. Pure.

    A build that ran out of time is FAILED; its phase says TIMED_OUT (buildspec.md 4.6, case 47).
    """
    seen = {phase.phase_status for phase in build.phases if phase.phase_type not in forgiven}
    worst = gravest(seen)
    return Status.FAILED if worst is Status.TIMED_OUT else worst


def gravest(statuses: Collection[Status | None]) -> Status:
    """Return the worst of *statuses*; IN_PROGRESS when none of them is bad. Pure."""
    return next((status for status in _GRAVITY if status in statuses), Status.IN_PROGRESS)
