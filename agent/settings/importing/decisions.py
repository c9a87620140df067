"""Decisions: what of a project of CodeBuild's is a person's to decide here, or works in another way. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from agent.settings.importing.found import Note, Weight
from agent.settings.problems import Loc

NOWHERE = "https://decide.invalid/repository.git"
"""The address of a source that a person must decide; no name below `.invalid` is ever found."""

_SECRET = re.compile(r"(?i)(^|_)(pass(word|wd|phrase)?|secret|token|pwd|api_?key|private_?key|credentials?)(_|$|\d)")
_CURATED = "aws/codebuild/"
_WINDOWS_OR_MAC = re.compile(r"WINDOWS_.*|MAC_.*")
_HOOKS = {
    "GITHUB_ENTERPRISE": "github_enterprise",
    "BITBUCKET": "bitbucket",
    "GITLAB": "gitlab",
    "GITLAB_SELF_MANAGED": "gitlab",
}
_EVERYWHERE = "CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION"


def notes_on(members: dict[str, Any]) -> list[Note]:
    """Return what is to be said of *members*, which are CodeBuild's own and may be of any shape."""
    return [Note(loc, weight, text) for rule in _RULES for loc, weight, text in rule(members)]


def translated_members(members: dict[str, Any]) -> tuple[dict[str, Any], list[Note]]:
    """Return *members* with what cannot be here replaced by the nearest thing that can, and a note at each."""
    notes: list[Note] = []
    handed = {name: _mapping(members, name).get("type") == "CODEPIPELINE" for name in ("source", "artifacts")}
    environment = _mapping(members, "environment")
    if handed["source"]:
        artifacts = _mapping(members, "artifacts") if handed["artifacts"] else {}
        members = {**members, "artifacts": {**artifacts, "type": "CODEPIPELINE"}}
        text = "CodePipeline's own CodeBuild action cannot start this agent: put the custom action into its place"
        notes.append(Note(("source", "type"), "decide", f"{text} (`buildspecd pipeline install`)"))
    elif handed["artifacts"]:
        members = {**members, "artifacts": {"type": "NO_ARTIFACTS"}}
        text = "the artifact went to CodePipeline; here type: S3 with a location may take its place"
        notes.append(Note(("artifacts",), "decide", text))
    kind = str(environment.get("type", ""))
    if _WINDOWS_OR_MAC.fullmatch(kind):
        members = {**members, "environment": {**environment, "type": "LINUX_CONTAINER"}}
        text = f"was {kind}; builds run in Linux containers here, so image and buildspec are to be exchanged"
        notes.append(Note(("environment", "type"), "decide", text))
    if str(members.get("encryptionKey", "")).endswith(":alias/aws/s3"):
        members = {name: value for name, value in members.items() if name != "encryptionKey"}
    return members, notes


_Said = Iterator[tuple[Loc, Weight, str]]


def _host(members: dict[str, Any]) -> _Said:
    if members.get("serviceRole"):
        yield (
            ("serviceRole",),
            "differs",
            "the host's role has to be allowed to assume it; buildspecd doctor tells how",
        )
    if _mapping(members, "vpcConfig").get("vpcId"):
        yield ("vpcConfig",), "differs", "builds run in the network of the host, so the host has to stand in this VPC"
    if _mapping(members, "buildBatchConfig"):
        yield ("buildBatchConfig",), "left out", "buildBatchConfig: no batch builds are run"
    if members.get("badgeEnabled") in (True, "true"):
        yield ("badgeEnabled",), "differs", "there are no badges"
    if members.get("projectVisibility") == "PUBLIC_READ":
        yield ("projectVisibility",), "left out", "projectVisibility PUBLIC_READ: build results are not made public"
    if members.get("fileSystemLocations"):
        yield ("fileSystemLocations",), "decide", "EFS is not mounted into builds"


def _environment(members: dict[str, Any]) -> _Said:
    environment = _mapping(members, "environment")
    loc: Loc = ("environment",)
    if environment.get("fleet"):
        yield (*loc, "fleet"), "differs", "reserved capacity means nothing on a host of one's own"
    if environment.get("dockerServer"):
        yield (*loc, "dockerServer"), "differs", "builds use the Docker engine of their host"
    if "LAMBDA" in str(environment.get("type", "")):
        yield (*loc, "type"), "differs", "runs in a container of the host, without Lambda's limits"
    if str(environment.get("image", "")).startswith(_CURATED):
        text = "a curated image: its copy in the public gallery is pulled (images.rewrite in agent.yml), some gigabytes"
        yield (*loc, "image"), "differs", text
    if environment.get("privilegedMode") in (True, "true"):
        yield (*loc, "privilegedMode"), "decide", "whoever may change this buildspec is root on this host"
    for index, variable in enumerate(_list(environment.get("environmentVariables"))):
        name = str(variable.get("name", "")) if isinstance(variable, dict) else ""
        if _SECRET.search(name) and variable.get("type", "PLAINTEXT") == "PLAINTEXT" and variable.get("value"):
            text = f"{name} looks like a secret that stands here for all to read: PARAMETER_STORE or SECRETS_MANAGER"
            yield (*loc, "environmentVariables", index), "decide", text


def _sources(members: dict[str, Any]) -> _Said:
    yield from _source(_mapping(members, "source"), ("source",))
    for index, source in enumerate(_list(members.get("secondarySources"))):
        if isinstance(source, dict):
            yield from _source(source, ("secondarySources", index))


def _source(source: dict[str, Any], loc: Loc) -> _Said:
    kind, location = str(source.get("type", "")), str(source.get("location", ""))
    auth = source.get("auth")
    if isinstance(auth, dict) and auth.get("type") == "SECRETS_MANAGER":
        yield (*loc, "auth"), "differs", "the host's own role reads this secret"
    elif auth:
        yield (*loc, "auth"), "decide", "CodeBuild's own credential is not at hand here: see `credentials` in agent.yml"
    elif kind in ("GITHUB", "GITHUB_ENTERPRISE", "BITBUCKET", "GITLAB", "GITLAB_SELF_MANAGED"):
        text = "a private repository needs a credential here, too: see `credentials` in agent.yml"
        yield (*loc, "location"), "decide", text
    if _EVERYWHERE in location:
        yield (*loc, "location"), "differs", "each event names its repository, which is entered with `credentials`"
    buildspec = source.get("buildspec")
    if isinstance(buildspec, str) and buildspec.startswith("arn:"):
        yield (*loc, "buildspec"), "differs", "the host's own role reads this object"


def _cache(members: dict[str, Any]) -> _Said:
    if _mapping(members, "cache").get("type") == "LOCAL":
        yield ("cache",), "differs", "kept on this host, for 14 days after its last use, and shared with no other host"


def _webhook(members: dict[str, Any]) -> _Said:
    webhook = members.get("webhook")
    if not isinstance(webhook, dict):
        return
    hook = _HOOKS.get(str(_mapping(members, "source").get("type")), "github")
    text = f"make a webhook at the git host that leads to this agent's /hooks/{hook}, and name its secret here:"
    yield ("webhook",), "decide", f"{text} `secret: env:NAME` (or file:, ssm:, secretsmanager:)"
    if not webhook.get("filterGroups") and not webhook.get("branchFilter"):
        yield ("webhook",), "differs", "without filterGroups polling builds the default branch alone"
    if webhook.get("buildType") not in (None, "BUILD"):
        yield ("webhook", "buildType"), "decide", "a plain build is started instead"
    if webhook.get("manualCreation") in (True, "true"):
        yield ("webhook",), "differs", "manualCreation is how it always is here"


def _mapping(members: dict[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_RULES: tuple[Callable[[dict[str, Any]], _Said], ...] = (_host, _environment, _sources, _cache, _webhook)
