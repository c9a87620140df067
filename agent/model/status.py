"""Status: how a build, or one of its phases, stands."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """CodeBuild's own words (API `StatusType`). FAILED is the user's commands saying no; FAULT is ours."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAULT = "FAULT"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
