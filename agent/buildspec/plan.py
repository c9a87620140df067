"""Plan: what a build will run, fully decided. Written once to disk; nobody reads the YAML again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from agent.model.phase import PhaseType
from agent.model.shape import Shape

FORMAT = 1
"""Of a plan as it is stored. It grows by one when a plan means something else to whoever knows the one before only."""
_FORMER = frozenset(("has_batch", "hasBatch", "has_reports", "hasReports"))


class OnFailure(Shape):
    """What happens when a phase fails (buildspec.md 4.5). `retries` and `pattern` matter for RETRY only."""

    action: Literal["DEFAULT", "ABORT", "CONTINUE", "RETRY"] = "DEFAULT"
    retries: int = 0
    pattern: str = ".*"


class PhasePlan(Shape):
    """One of the four buildspec phases; one that the file does not mention has no commands."""

    phase: PhaseType
    commands: tuple[str, ...] = ()
    finally_commands: tuple[str, ...] = ()
    on_failure: OnFailure = OnFailure()
    run_as: str | None = None


class ArtifactPlan(Shape):
    """One `artifacts` section (buildspec.md 10). Texts are unexpanded. `identifier` is None for the primary."""

    identifier: str | None = None
    files: tuple[str, ...]
    base_directory: str | None = None
    exclude_paths: tuple[str, ...] = ()
    discard_paths: bool = False
    enable_symlinks: bool = False
    name: str | None = None
    s3_prefix: str | None = None


class CachePlan(Shape):
    """The `cache` section (buildspec.md 11). Texts are unexpanded."""

    paths: tuple[str, ...] = ()
    key: str | None = None
    fallback_keys: tuple[str, ...] = ()
    action: Literal["both", "restore", "save"] = "both"


class ReportPlan(Shape):
    """One group of `reports` (buildspec.md 12). Texts are unexpanded; `group` is a name or an ARN."""

    group: str
    files: tuple[str, ...] = ()
    file_format: str = "JUNITXML"
    base_directory: str | None = None
    discard_paths: bool = False


class ProxyPlan(Shape):
    """The `proxy` section (buildspec.md 8)."""

    upload_artifacts: bool = False
    logs: bool = False


class VariablesPlan(Shape):
    """The `env` section: literal values, parameter names, secret references, in the file's order."""

    plain: dict[str, str] = Field(default_factory=dict)
    parameter_store: dict[str, str] = Field(default_factory=dict)
    secrets_manager: dict[str, str] = Field(default_factory=dict)
    exported: tuple[str, ...] = ()
    git_credential_helper: bool = False


class BatchEnvironment(Shape):
    """What a build of a batch changes of its project's environment; None: nothing (buildspec.md 13.2)."""

    compute_type: str | None = None
    fleet: str | None = None
    image: str | None = None
    type: str | None = None
    privileged_mode: bool | None = None
    variables: dict[str, str] = Field(default_factory=dict)


class BatchTask(Shape):
    """One build of a batch. `buildspec` is a path in the source; None: the file of the batch itself."""

    identifier: str
    buildspec: str | None = None
    environment: BatchEnvironment = BatchEnvironment()
    debug_session: bool = False
    ignore_failure: bool = False
    depend_on: tuple[str, ...] = ()


class BatchMatrix(Shape):
    """A `build-matrix`: what all builds have in common, and the values to combine (buildspec.md 13.3)."""

    ignore_failure: bool = False
    environment: BatchEnvironment = BatchEnvironment()
    buildspecs: tuple[str, ...] = ()
    compute_types: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    variables: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class BatchFanout(Shape):
    """A `build-fanout`: so many builds that share the tests (buildspec.md 13.4)."""

    parallelism: int
    ignore_failure: bool = False


class BatchPlan(Shape):
    """The `batch` section: the tasks of a list or a graph, or a matrix, or a fan-out; exactly one of the three.

    `batch_builds.builds_of` makes the builds. With `fast_fail` the first build that fails stops all others.
    """

    fast_fail: bool = False
    tasks: tuple[BatchTask, ...] = ()
    matrix: BatchMatrix | None = None
    fanout: BatchFanout | None = None


class Plan(Shape):
    """Everything that a buildspec decides about one build.

    `location` is where the log says that the file is, inside the container. `warnings` is the warning text of
    buildspec.md 1.4, ready for the log (empty: none). `listed_phases` holds the phases that the file mentions with
    the number of their commands, for the lines after `Phases found in YAML` (buildspec.md 14.2). `batch` is what a
    batch build of the file would run; None also where the section is not usable, which `notices` then say. Raises
    `ValueError` for a plan of a newer `format`.
    """

    format: int = FORMAT
    version: Literal["0.1", "0.2"] = "0.2"
    location: str
    shell: str = "/bin/sh"
    variables: VariablesPlan = VariablesPlan()
    phases: tuple[PhasePlan, ...]
    listed_phases: tuple[tuple[PhaseType, int], ...] = ()
    runtime_versions: dict[str, str] = Field(default_factory=dict)
    artifacts: ArtifactPlan | None = None
    secondary_artifacts: tuple[ArtifactPlan, ...] = ()
    cache: CachePlan | None = None
    reports: tuple[ReportPlan, ...] = ()
    proxy: ProxyPlan = ProxyPlan()
    batch: BatchPlan | None = None
    warnings: str = ""
    notices: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _as_now(cls, members: Any) -> Any:
        """Leave out what plans held that an earlier version wrote: their builds may still be running."""
        if not isinstance(members, dict):
            return members
        if (number := members.get("format", FORMAT)) != FORMAT:
            raise ValueError(f"it has format {number}, and this version of buildspecd knows {FORMAT}")
        return {name: value for name, value in members.items() if name not in _FORMER}
