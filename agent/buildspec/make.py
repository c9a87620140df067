"""Make: a buildspec's text to a Plan with every default filled in, or to its problems."""

from __future__ import annotations

from agent.buildspec.buildspec import Buildspec, PhaseSection
from agent.buildspec.parse import read_buildspec
from agent.buildspec.plan import BatchPlan, PhasePlan, Plan
from agent.buildspec.problems import INVALID_BATCH
from agent.errors import BuildspecInvalid, Problem
from agent.model.phase import COMMAND_PHASES

DEFAULT_SHELL = "/bin/sh"


def make_plan(text: str | bytes, *, name: str, location: str) -> Plan:
    """Return the plan of one build. *name* is the file in problems, *location* its path inside the container.

    Raises BuildspecInvalid (YAML_FILE_ERROR) with CodeBuild's words for the first fatal problem, and every problem.
    """
    reading = read_buildspec(text, name=name)
    invalid = reading.findings.verdict()
    if invalid is not None:
        raise invalid
    spec = reading.buildspec
    return Plan(
        version=spec.version,
        location=location,
        shell=spec.shell or DEFAULT_SHELL,
        variables=spec.variables,
        phases=_phases(spec),
        listed_phases=tuple((section.phase, len(section.commands)) for section in spec.phases),
        runtime_versions=dict(spec.runtime_versions),
        artifacts=spec.artifacts,
        secondary_artifacts=spec.secondary_artifacts,
        cache=spec.cache,
        reports=spec.reports,
        proxy=spec.proxy,
        batch=spec.batch,
        warnings=reading.findings.warning_text,
        notices=reading.findings.notices,
    )


def make_batch(text: str | bytes, *, name: str) -> BatchPlan:
    """Return what a batch build of the file would run; *name* is the file in problems.

    Raises BuildspecInvalid: YAML_FILE_ERROR where the file itself is wrong, BATCH_SPEC_VALIDATION_ERROR where its
    section `batch` is, or is not there (buildspec.md 13.7).
    """
    reading = read_buildspec(text, name=name)
    invalid = reading.findings.verdict() or reading.findings.verdict_on_the_batch()
    if invalid is not None:
        raise invalid
    if reading.buildspec.batch is None:
        message = "BatchSpec has invalid values.. the buildspec has no section `batch`"
        raise BuildspecInvalid(message, [Problem(name, 1, 1, message)], code=INVALID_BATCH)
    return reading.buildspec.batch


def problems_of(text: str | bytes, name: str, *, batch: bool = False) -> list[Problem]:
    """Return every problem of a buildspec, fatal or not, in the order of the file; raises nothing.

    A plain build ignores what is wrong with a section `batch`; with *batch* it is fatal, as it is to a batch build.
    """
    findings = read_buildspec(text, name=name).findings
    return list(findings.problems_of_a_batch if batch else findings.problems)


def _phases(spec: Buildspec) -> tuple[PhasePlan, ...]:
    """Return all four phases in the order in which they run; a phase's own `run-as` beats the file's."""
    by_phase = {section.phase: section for section in spec.phases}
    sections = (by_phase.get(phase) or PhaseSection(phase=phase) for phase in COMMAND_PHASES)
    return tuple(
        PhasePlan(
            phase=section.phase,
            commands=section.commands,
            finally_commands=section.finally_commands,
            on_failure=section.on_failure,
            run_as=section.run_as or spec.run_as,
        )
        for section in sections
    )
