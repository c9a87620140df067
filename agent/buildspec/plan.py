"""Plan: what a build will run, fully decided. Written once to disk; nobody reads the YAML again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.model.phase import PhaseType
from agent.model.shape import Shape


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


class Plan(Shape):
    """Everything that a buildspec decides about one build.

    `location` is where the log says that the file is, inside the container. `warnings` is the warning text of
    buildspec.md 1.4, ready for the log (empty: none). `listed_phases` holds the phases that the file mentions with
    the number of their commands, for the lines after `Phases found in YAML` (buildspec.md 14.2).
    """

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
    has_batch: bool = False
    warnings: str = ""
    notices: tuple[str, ...] = ()
