"""Buildspec: what one file says, before the defaults are filled in."""

from __future__ import annotations

from typing import Literal

from agent.buildspec.plan import ArtifactPlan, BatchPlan, CachePlan, OnFailure, ProxyPlan, ReportPlan, VariablesPlan
from agent.model.phase import PhaseType
from agent.model.shape import Shape

Version = Literal["0.1", "0.2"]


class PhaseSection(Shape):
    """One phase that the file mentions with something in it."""

    phase: PhaseType
    commands: tuple[str, ...] = ()
    finally_commands: tuple[str, ...] = ()
    on_failure: OnFailure = OnFailure()
    run_as: str | None = None


class Buildspec(Shape):
    """The content of a buildspec. Texts are as in the file: nothing is expanded. Phases are in the file's order."""

    version: Version = "0.2"
    run_as: str | None = None
    shell: str | None = None
    variables: VariablesPlan = VariablesPlan()
    phases: tuple[PhaseSection, ...] = ()
    runtime_versions: tuple[tuple[str, str], ...] = ()
    artifacts: ArtifactPlan | None = None
    secondary_artifacts: tuple[ArtifactPlan, ...] = ()
    cache: CachePlan | None = None
    reports: tuple[ReportPlan, ...] = ()
    proxy: ProxyPlan = ProxyPlan()
    batch: BatchPlan | None = None
