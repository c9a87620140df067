"""Handover: where the sources of a pipeline's build come from, and where its artifacts go (service.md 9)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.buildspec.plan import Plan
from agent.errors import ArtifactsMissing, SourceRefused, UserError
from agent.model.build import Build
from agent.model.pipelinejob import HandedArtifact
from agent.model.project import Artifacts, Source
from agent.source.handed import handed
from agent.source.sources import Fetcher

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_ALONE = "only the action of a pipeline hands over artifacts: start the pipeline"


def fetcher(job: Job, source: Source) -> Fetcher | None:
    """Return what fetches *source* with the credentials of the build's job; None for one of another kind."""
    if source.type != "CODEPIPELINE":
        return None
    artifact = input_for(job.build, source)
    return handed(partial(job.tools.handover, job.build, artifact.bucket), artifact)


def input_for(build: Build, source: Source) -> HandedArtifact:
    """Return the artifact that is *source*. Raises `SourceRefused`. Pure."""
    inputs = build.pipeline.inputs if build.pipeline else ()
    for place, artifact in enumerate(inputs):
        if artifact.identifier == source.source_identifier or (place == 0 and source.source_identifier is None):
            return artifact
    raise SourceRefused(f"no input artifact is the source {source.source_identifier or 'of this build'}", hint=_ALONE)


def output_for(build: Build, settings: Artifacts) -> HandedArtifact:
    """Return the artifact that *settings* mean. Raises `UserError`. Pure."""
    outputs = build.pipeline.outputs if build.pipeline else ()
    for artifact in outputs:
        if settings.artifact_identifier in (None, artifact.identifier):
            return artifact
    raise UserError(f"no output artifact is called {settings.artifact_identifier or build.project.name}", hint=_ALONE)


def written(build: Build, identifier: str | None) -> str | None:
    """Return the identifier under which the project knows an artifact that a buildspec names as the pipeline does."""
    outputs = build.pipeline.outputs if build.pipeline else ()
    return next((one.identifier for one in outputs if identifier in (one.name, one.identifier)), identifier)


def check_outputs(build: Build, plan: Plan) -> None:
    """Raise `ArtifactsMissing` when the action has several output artifacts and the buildspec does not make them all.

    With a single one its `artifacts` section is that; without one there is only a warning, as in CodeBuild.
    """
    outputs = build.pipeline.outputs if build.pipeline else ()
    made = {written(build, one.identifier) for one in plan.secondary_artifacts}
    lacking = [one.name for one in outputs if one.identifier not in made]
    if len(outputs) > 1 and lacking:
        there = ", ".join(str(one.identifier) for one in plan.secondary_artifacts) or "none"
        raise ArtifactsMissing(
            f"the buildspec makes no output artifact {', '.join(lacking)}: its secondary-artifacts are: {there}",
            hint="with several output artifacts each needs an entry of secondary-artifacts with its name",
        )
