"""Build: one run of one project; changed only through `evolve`, stored only by the recorder."""

from __future__ import annotations

from pydantic import Field

from agent.kit.clock import Moment
from agent.model.cause import Cause
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.pipelinejob import PipelineJob
from agent.model.project import EnvironmentVariable, Project
from agent.model.shape import Shape
from agent.model.status import Status
from agent.model.webhook import WebhookFacts


class ArtifactRecord(Shape):
    """CodeBuild's `BuildArtifacts`: where an artifact went. The sums are hexadecimal, present for ZIP only."""

    location: str | None = None
    sha256sum: str | None = Field(default=None, alias="sha256sum")
    md5sum: str | None = Field(default=None, alias="md5sum")
    override_artifact_name: bool | None = None
    encryption_disabled: bool | None = None
    artifact_identifier: str | None = None


class LogGap(Shape):
    """Bytes `start` to `end` of a log that a sink will never have, or may have twice; the lines in them, and why."""

    sink: str
    start: int
    end: int
    lines: int
    reason: str


class LogRecord(Shape):
    """Where the log went. `delivered`, `delivered_lines`: how far each sink is; what it lacks up to there: `gaps`.

    `maybe_twice`: what a sink was sent again, because nobody could tell whether it had it already.
    """

    group_name: str | None = None
    stream_name: str | None = None
    s3_location: str | None = None
    bytes: int = 0
    lines: int = 0
    delivered: dict[str, int] = Field(default_factory=dict)
    delivered_lines: dict[str, int] = Field(default_factory=dict)
    gaps: tuple[LogGap, ...] = ()
    maybe_twice: tuple[LogGap, ...] = ()
    problems: dict[str, str] = Field(default_factory=dict)

    @property
    def owing(self) -> bool:
        """Whether a sink has less than the whole log, and may still get it."""
        return any(count < self.bytes for count in self.delivered.values())

    def held(self, sink: str) -> tuple[int, int]:
        """Return how many bytes and lines of the log *sink* has."""
        gaps = [gap for gap in self.gaps if gap.sink == sink]
        size = self.delivered.get(sink, 0) - sum(gap.end - gap.start for gap in gaps)
        counted = self.lines if self.delivered.get(sink) == self.bytes else 0  # of builds before lines were counted
        return size, max(0, self.delivered_lines.get(sink, counted) - sum(gap.lines for gap in gaps))


class CacheRecord(Shape):
    """What the cache did for a build: `hit`, `miss` or `off`, and whether it was saved."""

    restored: str = "off"
    saved: bool = False
    files: int = 0
    generation: int = 0
    """How often the project's caches had been invalidated when this build looked."""


class AutoRetry(Shape):
    """CodeBuild's `AutoRetryConfig` but for the limit, which is the project's: where in its chain a build stands.

    `number` counts the retries before it; `next` and `previous` are ARNs.
    """

    number: int = 0
    next: str | None = None
    previous: str | None = None


class NetworkInterface(Shape):
    """CodeBuild's `NetworkInterface`: of the host, for a build whose project has a `vpcConfig`."""

    subnet_id: str
    network_interface_id: str


class ExportedVariable(Shape):
    """CodeBuild's `ExportedEnvironmentVariable`."""

    name: str
    value: str


class Build(Shape):
    """One build. Times are epoch seconds (milliseconds kept). `project` holds the *effective* values."""

    id: str
    arn: str
    number: int
    project: Project
    status: Status = Status.IN_PROGRESS
    phases: tuple[Phase, ...]
    start_time: float
    end_time: float | None = None
    submitted: Moment | None = None
    """When it began to wait, for the queue's time limit."""
    set_out: Moment | None = None
    """When it had waited, for its own time limit."""
    initiator: str
    source_version: str | None = None
    resolved_source_version: str | None = None
    source_ref: str | None = None
    previous_revision: str | None = None
    """What was asked for before: with all between the two, should there have been more pushes, this build is of."""
    passed_over: tuple[str, ...] = ()
    """Pushes (`OLD..NEW`) for which this build stands, as they were looked up for whoever asked; never stored."""
    waits_for: str | None = None
    """Why it waits in the queue, and not for others to end; never stored."""
    kept_workspace: str | None = None
    """Where its workspace still lies on the host after its end; never stored."""
    overrides: tuple[EnvironmentVariable, ...] = ()
    source_root: str
    artifacts: ArtifactRecord | None = None
    secondary_artifacts: tuple[ArtifactRecord, ...] = ()
    logs: LogRecord = LogRecord()
    cache: CacheRecord = CacheRecord()
    network_interface: NetworkInterface | None = None
    report_arns: tuple[str, ...] = ()
    exported: tuple[ExportedVariable, ...] = ()
    retry_of: str | None = None
    auto_retry: AutoRetry = AutoRetry()
    webhook: WebhookFacts | None = None
    pipeline: PipelineJob | None = None
    """The job of CodePipeline's that it is made for: whence its sources come and whither its artifacts go."""
    steps_done: tuple[str, ...] = ()
    stop_reason: str | None = None
    paused_since: float | None = None
    """When the build was seen to wait at a breakpoint; None: it does not."""
    reruns: int = 0
    """How often it was started over because its container was lost (`agent.rerun_lost`)."""
    cause: Cause | None = None
    """Why it did not succeed: the first thing that went wrong."""
    advice: str | None = None
    """What to do about that, in one sentence."""

    @property
    def uuid(self) -> str:
        """The part of the id after the colon; names the log stream and the build's directory."""
        return self.id.partition(":")[2]

    @property
    def complete(self) -> bool:
        """Whether the build has ended."""
        return self.status is not Status.IN_PROGRESS

    @property
    def current_phase(self) -> PhaseType:
        """The phase that the build is in, or ended in (`COMPLETED`)."""
        return self.phases[-1].phase_type

    @property
    def timed_out(self) -> bool:
        """Whether a phase ran out of time; the status of such a build is FAILED (buildspec.md 4.6, case 47)."""
        return any(phase.phase_status is Status.TIMED_OUT for phase in self.phases)

    def phase(self, kind: PhaseType) -> Phase | None:
        """The record of *kind*, or None while the build has not met it."""
        return next((phase for phase in self.phases if phase.phase_type is kind), None)

    def entered(self, kind: PhaseType, at: float) -> Build:
        """Return this build in phase *kind*; the phase before must have ended. Entering twice changes nothing."""
        if self.phase(kind):
            return self
        start = self.phases[-1].end_time or at
        return self.evolve(phases=(*self.phases, Phase(phase_type=kind, start_time=start)))

    def troubled(self, status: Status, context: PhaseContext) -> Build:
        """Return this build with something gone wrong in its current phase, which goes on."""
        return self.evolve(phases=(*self.phases[:-1], self.phases[-1].troubled(status, context)))

    def left(self, at: float, status: Status, context: PhaseContext | None = None) -> Build:
        """Return this build with its current phase ended; a phase that has ended stays as it is."""
        if self.phases[-1].end_time is not None:
            return self
        return self.evolve(phases=(*self.phases[:-1], self.phases[-1].ended(at, status, context)))
