"""What a job of a pipeline asks for becomes a BuildRequest; what makes no sense is said in one sentence. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.errors import RequestInvalid
from agent.model.pipelinejob import HandedArtifact, PipelineJob
from agent.model.request import BuildRequest

PROJECT = "ProjectName"
POOL = "Pool"
PRIMARY = "PrimarySource"
VARIABLES = "EnvironmentVariables"
BATCH = "BatchEnabled"
BUILDSPEC = "BuildspecOverride"
TIMEOUT = "TimeoutMinutes"

_TYPES = ("PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER")
_SHAPE = 'write [{"name":"STAGE","value":"beta","type":"PLAINTEXT"}]'


def dedupe_key(job: PipelineJob) -> str:
    """Return the key under which the build of *job* is asked for: however often that happens, it is one build."""
    return f"codepipeline:{job.id}"


def ordered(job: PipelineJob, configuration: Mapping[str, str]) -> PipelineJob:
    """Return *job* with its primary input first. Raises `RequestInvalid`."""
    if not job.inputs:
        raise RequestInvalid("the action has no input artifact", hint="give it one: it is the source of the build")
    for artifact in (*job.inputs, *job.outputs):
        if not artifact.name or not artifact.bucket or not artifact.key:
            raise RequestInvalid(
                f"the artifact {artifact.name or 'without a name'} has no place in S3",
                hint="look at the artifact store of the pipeline",
            )
    for artifacts, kind in ((job.inputs, "input"), (job.outputs, "output")):
        _refuse_twins(artifacts, kind)
    primary = configuration.get(PRIMARY, "")
    names = [artifact.name for artifact in job.inputs]
    if not primary and len(names) > 1:
        raise RequestInvalid(
            f"{PRIMARY} is missing from the action configuration, and there are {len(names)} input artifacts",
            hint=f"set it to the one that has the buildspec: {', '.join(names)}",
        )
    if primary and primary not in names:
        raise RequestInvalid(
            f"{PRIMARY} {primary!r} is no input artifact of the action", hint=f"there are: {', '.join(names)}"
        )
    inputs = sorted(job.inputs, key=lambda artifact: artifact.name != (primary or names[0]))
    return job.evolve(inputs=tuple(inputs))


def _refuse_twins(artifacts: tuple[HandedArtifact, ...], kind: str) -> None:
    seen: dict[str, str] = {}
    for artifact in artifacts:
        other = seen.setdefault(artifact.identifier, artifact.name)
        if other != artifact.name:
            raise RequestInvalid(
                f"the {kind} artifacts {other} and {artifact.name} are the same as names of variables",
                hint="rename one: a hyphen counts as an underscore",
            )


def request_for(given: PipelineJob, configuration: Mapping[str, str]) -> BuildRequest:
    """Return the request for the build of a job. Raises `RequestInvalid` for a configuration that makes no sense."""
    project = configuration.get(PROJECT, "").strip()
    if not project:
        raise RequestInvalid(
            f"{PROJECT} is missing from the action configuration", hint="set it to a project of this agent"
        )
    if configuration.get(BATCH, "").strip().lower() not in ("", "false"):
        raise RequestInvalid(
            f"{BATCH}: batch builds are not run by this agent", hint=f"remove {BATCH} from the action configuration"
        )
    job = ordered(given, configuration)
    primary, *others = job.inputs
    overrides: dict[str, Any] = {
        "sourceTypeOverride": "CODEPIPELINE",
        "sourceLocationOverride": None,
        "sourceAuthOverride": None,
        "reportBuildStatusOverride": False,
        "secondarySourcesOverride": [
            {"type": "CODEPIPELINE", "sourceIdentifier": artifact.identifier} for artifact in others
        ],
        "secondarySourcesVersionOverride": [
            {"sourceIdentifier": artifact.identifier, "sourceVersion": artifact.location} for artifact in others
        ],
        **_destinations(job),
        "environmentVariablesOverride": variables(configuration.get(VARIABLES, "")),
    }
    if configuration.get(BUILDSPEC):
        overrides["buildspecOverride"] = configuration[BUILDSPEC]
    if configuration.get(TIMEOUT):
        overrides["timeoutInMinutesOverride"] = _minutes(configuration[TIMEOUT])
    return BuildRequest(
        project=project,
        source_version=primary.location,
        revision=primary.revision,
        initiator=f"codepipeline/{job.pipeline}",
        dedupe_key=dedupe_key(job),
        overrides=overrides,
        pipeline=job,
    )


def _destinations(job: PipelineJob) -> dict[str, Any]:
    """Return where artifacts go: one output is the primary artifact, of several each is a secondary one."""
    several = len(job.outputs) > 1
    one = {"type": "CODEPIPELINE", "packaging": "ZIP"}
    return {
        "artifactsOverride": one if len(job.outputs) == 1 else {"type": "NO_ARTIFACTS"},
        "secondaryArtifactsOverride": [
            {**one, "artifactIdentifier": artifact.identifier} for artifact in job.outputs if several
        ],
    }


def variables(text: str) -> list[dict[str, str]]:
    """Return the variables that *text*, the JSON of an action configuration, sets. Raises `RequestInvalid`.

    No message shows a value: it may be a secret.
    """
    if not text.strip():
        return []
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestInvalid(f"{VARIABLES} of the action configuration is no JSON{place}", hint=_SHAPE) from None
    if not isinstance(given, list):
        raise RequestInvalid(f"{VARIABLES} of the action configuration is no JSON array", hint=_SHAPE)
    return [_variable(one, number) for number, one in enumerate(given, start=1)]


def _variable(given: object, number: int) -> dict[str, str]:
    where = f"{VARIABLES} of the action configuration: entry {number}"
    if not isinstance(given, dict):
        raise RequestInvalid(f"{where} is no JSON object", hint=_SHAPE)
    name, value, kind = given.get("name"), given.get("value"), given.get("type") or "PLAINTEXT"
    if not isinstance(name, str) or not name:
        raise RequestInvalid(f"{where} has no name", hint=_SHAPE)
    if not isinstance(value, str):
        raise RequestInvalid(f"{where} ({name}): its value is no JSON string", hint=_SHAPE)
    if kind not in _TYPES:
        raise RequestInvalid(f"{where} ({name}): its type is none of {', '.join(_TYPES)}", hint=_SHAPE)
    if unknown := sorted(set(given) - {"name", "value", "type"}):
        raise RequestInvalid(f"{where} ({name}) has unknown members: {', '.join(unknown)}", hint=_SHAPE)
    return {"name": name, "value": value, "type": kind}


def _minutes(text: str) -> int:
    if not text.strip().isascii() or not text.strip().isdecimal() or not 1 <= int(text) <= 2160:
        raise RequestInvalid(f"{TIMEOUT} is no number from 1 to 2160: {text[:20]!r}", hint="write whole minutes")
    return int(text)
