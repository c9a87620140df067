"""Phase: the eleven stations of a build, as the CodeBuild API names them."""

from __future__ import annotations

from enum import StrEnum

from agent.model.shape import Shape
from agent.model.status import Status


class PhaseType(StrEnum):
    """The phases in the order in which a build meets them (buildspec.md 4.1)."""

    SUBMITTED = "SUBMITTED"
    QUEUED = "QUEUED"
    PROVISIONING = "PROVISIONING"
    DOWNLOAD_SOURCE = "DOWNLOAD_SOURCE"
    INSTALL = "INSTALL"
    PRE_BUILD = "PRE_BUILD"
    BUILD = "BUILD"
    POST_BUILD = "POST_BUILD"
    UPLOAD_ARTIFACTS = "UPLOAD_ARTIFACTS"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"


COMMAND_PHASES = (PhaseType.INSTALL, PhaseType.PRE_BUILD, PhaseType.BUILD, PhaseType.POST_BUILD)
"""The four phases that a buildspec can fill."""


class PhaseContext(Shape):
    """Why a phase ended as it did. Both members are empty when it succeeded (buildspec.md 3)."""

    status_code: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.status_code}: {self.message}" if self.status_code else self.message


class Phase(Shape):
    """One phase of one build. Times are epoch seconds.

    `end_time` is absent while it runs; so is `phase_status`, unless a part of it has gone wrong already.
    """

    phase_type: PhaseType
    phase_status: Status | None = None
    start_time: float
    end_time: float | None = None
    duration_in_seconds: int | None = None
    contexts: tuple[PhaseContext, ...] = ()

    def troubled(self, status: Status, context: PhaseContext) -> Phase:
        """Return this phase, which goes on, with what has gone wrong in it so far."""
        return self.evolve(phase_status=status, contexts=(*self.contexts, context))

    def ended(self, at: float, status: Status, context: PhaseContext | None = None) -> Phase:
        """Return this phase ended; the duration is truncated to whole seconds (service.md 4.3)."""
        end = max(at, self.start_time)  # the driver's clock is coarser than ours
        return self.evolve(
            phase_status=status,
            end_time=end,
            duration_in_seconds=int(end - self.start_time),
            contexts=(context or PhaseContext(),),
        )
