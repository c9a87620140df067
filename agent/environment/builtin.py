"""The variables that the agent itself sets (buildspec.md 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from agent.environment.resolve import Environment
from agent.model.build import Build
from agent.model.project import Source

_NO_COMMIT = "0" * 40
_PUSHED = ("buildspecd/poll", "buildspecd/hook", "GitHub-Hookshot/", "Bitbucket-Webhooks/", "GitLab-Hookshot/")
_OWN = re.compile(
    r"CODEBUILD_(BATCH_BUILD_IDENTIFIER|BUILD_(ARN|ID|IMAGE|NUMBER|SUCCEEDING|URL)|CI|GOPATH|INITIATOR|KMS_KEY_ID|"
    r"LAST_EXIT|LOG_PATH|PROJECT_ARN|PUBLIC_BUILD_URL|RESOLVED_SOURCE_VERSION|START_TIME|WEBHOOK_[A-Z_]+|"
    r"(SOURCE_REPO_URL|SOURCE_VERSION|SRC_DIR)(_[A-Za-z0-9_]+)?)"
)

_BUCKET = re.compile(r"^(arn:[a-z-]+:s3:::|s3://)")


@dataclass(frozen=True)
class BuildFacts:
    """What a `Build` does not say of itself.

    `source_dirs` maps a source's identifier (the primary's is None) to its absolute path in the container.
    """

    region: str
    source_dirs: Mapping[str | None, str]


def builtin_variables(build: Build, facts: BuildFacts) -> dict[str, str]:
    """Return the built-in variables that apply to *build*; those that do not are absent, so `-z` holds (7.2).

    `CODEBUILD_RESOLVED_SOURCE_VERSION` is there once the build has it. `CODEBUILD_BUILD_SUCCEEDING` and
    `CODEBUILD_LAST_EXIT` are as before the first command; the driver keeps them from then on.
    """
    variables = _of_the_build(build, facts.region) | _of_the_sources(build, facts.source_dirs)
    variables |= build.webhook.variables() if build.webhook else _of_the_push(build)
    for place in build.project.file_system_locations:
        if place.identifier and place.mount_point:
            variables[f"CODEBUILD_{place.identifier.upper()}"] = place.mount_point
    return variables


def compose(environment: Environment, builtins: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of a build. Of the agent's own `CODEBUILD_` names the agent's value wins, even where that
    is none; `HOME` and `AWS_REGION` are the user's to replace (buildspec.md 6.1)."""
    users = {name: value for name, value in environment.variables.items() if not _is_own(name, builtins)}
    return {**builtins, **users}


def _is_own(name: str, builtins: Mapping[str, str]) -> bool:
    return name.startswith("CODEBUILD_") and (name in builtins or _OWN.fullmatch(name) is not None)


def _of_the_build(build: Build, region: str) -> dict[str, str]:
    project_arn = build.arn.split(":build/")[0] + f":project/{build.project.name}"
    account = [*build.arn.split(":"), "", "", "", ""][4]
    partition = [*build.arn.split(":"), "aws"][1] or "aws"
    console = f"https://{region}.console.aws.amazon.com/codebuild/home?region={region}"
    return {
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "HOME": "/root",
        "CODEBUILD_CI": "true",
        "CODEBUILD_BUILD_ARN": build.arn,
        "CODEBUILD_BUILD_ID": build.id,
        "CODEBUILD_BUILD_IMAGE": build.project.environment.image,
        "CODEBUILD_BUILD_NUMBER": str(build.number),
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_BUILD_URL": f"{console}#/builds/{build.id}/view/new",
        "CODEBUILD_GOPATH": build.source_root,
        "CODEBUILD_INITIATOR": build.initiator,
        "CODEBUILD_KMS_KEY_ID": build.project.encryption_key or f"arn:{partition}:kms:{region}:{account}:alias/aws/s3",
        "CODEBUILD_LAST_EXIT": "0",
        "CODEBUILD_LOG_PATH": build.logs.stream_name or build.uuid,
        "CODEBUILD_PROJECT_ARN": project_arn,
        "CODEBUILD_START_TIME": str(round(build.start_time * 1000)),
    }


def _of_the_sources(build: Build, directories: Mapping[str | None, str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    if None in directories:
        variables["CODEBUILD_SRC_DIR"] = directories[None]
    primary = build.project.source
    if primary.type != "NO_SOURCE":
        _put(variables, "CODEBUILD_SOURCE_REPO_URL", _repository(primary))
        _put(variables, "CODEBUILD_SOURCE_VERSION", build.source_version)
        _put(variables, "CODEBUILD_RESOLVED_SOURCE_VERSION", build.resolved_source_version)
    versions = {one.source_identifier: one.source_version for one in build.project.secondary_source_versions}
    for source in build.project.secondary_sources:
        name = source.source_identifier or ""
        _put(variables, f"CODEBUILD_SRC_DIR_{name}", directories.get(name))
        _put(variables, f"CODEBUILD_SOURCE_REPO_URL_{name}", _repository(source))
        _put(variables, f"CODEBUILD_SOURCE_VERSION_{name}", versions.get(name))
    return variables


def _of_the_push(build: Build) -> dict[str, str]:
    """Return what a webhook would have said of the push that a trigger saw (the table in buildspec.md 7.1)."""
    ref = build.source_ref or ""
    kind = {"refs/heads/": "branch", "refs/tags/": "tag"}.get("/".join(ref.split("/")[:2]) + "/")
    if kind is None or not build.initiator.startswith(_PUSHED):
        return {}
    return {
        "CODEBUILD_WEBHOOK_EVENT": "PUSH",
        "CODEBUILD_WEBHOOK_HEAD_REF": ref,
        "CODEBUILD_WEBHOOK_TRIGGER": f"{kind}/{ref.split('/', 2)[2]}",
        "CODEBUILD_WEBHOOK_PREV_COMMIT": build.previous_revision or _NO_COMMIT,
    }


def _repository(source: Source) -> str | None:
    """Return what CodeBuild calls the repository URL; never with a login in it."""
    location = source.location
    if not location:
        return None
    if source.type == "S3":
        return location if location.startswith("file:") else f"s3://{_BUCKET.sub('', location)}"
    if "://" not in location:
        return location
    parts = urlsplit(location)
    if parts.scheme not in {"http", "https"}:
        return location
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _put(variables: dict[str, str], name: str, value: str | None) -> None:
    if value is not None:
        variables[name] = value
