"""BuildEvent: what the outside is told when a build, or one of its phases, changes."""

from __future__ import annotations

from typing import Literal

from agent.model.build import Build
from agent.model.phase import PhaseType
from agent.model.shape import Shape


class BuildEvent(Shape):
    """A change, with the build as it stood right after it. `kind` follows CodeBuild's two detail types."""

    kind: Literal["state", "phase"]
    at: float
    build: Build
    completed_phase: PhaseType | None = None
