"""Verdict: the exit code that a build gives to the command that waited for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INVALID_FILE = 2
_INVALID_FILE_CODE = "YAML_FILE_ERROR"

EXIT_CODES = {"SUCCEEDED": 0, "FAILED": 1, "FAULT": 3, "TIMED_OUT": 4, "STOPPED": 5}


def exit_code(build: Mapping[str, Any]) -> int:
    """Return the exit code of a build in the shape of BatchGetBuilds; one that still runs is a fault of ours."""
    if timed_out(build):
        return EXIT_CODES["TIMED_OUT"]
    if build.get("buildStatus") == "FAILED" and invalid_file(build):
        return INVALID_FILE
    return EXIT_CODES.get(str(build.get("buildStatus")), EXIT_CODES["FAULT"])


def invalid_file(build: Mapping[str, Any]) -> bool:
    """Whether no command ran because the buildspec cannot be used (buildspec.md 1.3)."""
    contexts = (context for phase in build.get("phases", ()) for context in phase.get("contexts", ()))
    return any(context.get("statusCode") == _INVALID_FILE_CODE for context in contexts)


def timed_out(build: Mapping[str, Any]) -> bool:
    """Whether a build ran out of time; the API calls such a build FAILED (buildspec.md 4.6)."""
    return build.get("buildStatus") == "FAILED" and any(
        phase.get("phaseStatus") == "TIMED_OUT" for phase in build.get("phases", ())
    )
