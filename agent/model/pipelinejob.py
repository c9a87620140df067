"""PipelineJob: what CodePipeline wants built, and where it lies; never with credentials (service.md 9)."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from agent.model.shape import Shape

State = Literal["taken", "building", "telling", "continuing", "done"]
"""taken: stored, and perhaps acknowledged. building: acknowledged, and its build stored. telling: acknowledged, can
be no build, and the pipeline is to be told. continuing: handed back with a continuation token, and comes again under
another id. done: nothing is owed."""


class HandedArtifact(Shape):
    """An artifact of a pipeline: a ZIP in S3. `revision` is what the source action made of it, if it said so."""

    name: str
    bucket: str
    key: str
    revision: str | None = None

    @property
    def identifier(self) -> str:
        """The name as the identifier of a source or an artifact can be written: `-` becomes `_`."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.name)

    @property
    def location(self) -> str:
        """Where it lies, as CodeBuild writes it."""
        return f"arn:aws:s3:::{self.bucket}/{self.key}"


class PipelineJob(Shape):
    """One job. Of `inputs` the first is the primary source; `encryption_key` is the pipeline's own, None: aws/s3."""

    id: str
    pipeline: str
    pipeline_arn: str | None = None
    execution: str | None = None
    stage: str = ""
    action: str = ""
    inputs: tuple[HandedArtifact, ...] = ()
    outputs: tuple[HandedArtifact, ...] = ()
    encryption_key: str | None = None


class Failure(Shape):
    """What CodePipeline is told of a job that failed."""

    type: str
    message: str
    execution: str | None = None


class StoredJob(Shape):
    """A job as it is kept until CodePipeline knows how it ended. `continues` is the job whose build goes on in it."""

    job: PipelineJob
    nonce: str
    state: State = "taken"
    configuration: dict[str, str] = Field(default_factory=dict)
    build: str | None = None
    continues: str | None = None
    failure: Failure | None = None
    changed: float = 0.0
