"""BuildRequest: what every trigger makes, and all that intake needs to know."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agent.model.pipelinejob import PipelineJob
from agent.model.shape import Shape
from agent.model.webhook import WebhookFacts


class BuildRequest(Shape):
    """Ask for one build. Two requests with the same `dedupe_key` are one build.

    `overrides` are the members of CodeBuild's `StartBuild` other than `projectName` and `sourceVersion`
    (service.md 5.4), in camelCase.
    """

    project: str
    source_version: str | None = None
    source_ref: str | None = None
    revision: str | None = None
    """The commit that `source_version` meant when it was asked for, where that is not the commit itself (`pr/7`)."""
    previous_revision: str | None = None
    initiator: str
    dedupe_key: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    retry_of: str | None = None
    webhook: WebhookFacts | None = None
    pipeline: PipelineJob | None = None
    """The job of CodePipeline's that it is made for."""
