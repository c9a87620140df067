"""Location: where a project's `buildspec` value says that the buildspec is (buildspec.md 1.1)."""

from __future__ import annotations

import re
from typing import Literal

from agent.errors import BuildspecInvalid, Problem
from agent.model.cause import Cause

DEFAULT_NAME = "buildspec.yml"
INLINE_LOCATION = "/codebuild/readonly/buildspec.yml"
"""Where the log says that an inline buildspec is."""

Kind = Literal["default", "path", "inline", "s3"]

_S3_ARN = re.compile(r"arn:aws[a-z-]*:s3:::")
_INLINE_START = re.compile(r"""\{|(?P<quote>["']?)version(?P=quote)(?=[\s:]|\Z)""")


def classify(buildspec: str | None) -> tuple[Kind, str]:
    """Say what *buildspec* (of the project, or the override of a start) is, and the value to use.

    `("default", "buildspec.yml")`, `("path", relative path)`, `("s3", ARN)` or `("inline", the text as given)`.
    """
    value = (buildspec or "").strip().removeprefix("\ufeff")
    if not value:
        return "default", DEFAULT_NAME
    if _S3_ARN.match(value):
        return "s3", value
    if "\n" in value or "\r" in value or _INLINE_START.match(value):
        return "inline", buildspec or ""
    return "path", value


def buildspec_missing(path: str, *, default: bool) -> BuildspecInvalid:
    """Return the error for a buildspec file that is not there; *path* is the absolute one inside the container.

    *default* tells that the project names no file, so `buildspec.yml` was looked for (buildspec.md 1.3).
    """
    message = "YAML file does not exist" if default else f"stat {path}: no such file or directory"
    hint = (
        "commit a buildspec.yml to the root of the source (buildspec.yaml is not looked for), or name the file in the "
        "project's source.buildspec"
        if default
        else "the path in the project's source.buildspec counts from the root of the source"
    )
    return BuildspecInvalid(message, [Problem(path, 0, 0, message)], hint=hint, cause=Cause.BUILDSPEC_MISSING)
