"""ActionTypes: the custom action that pipelines name, created, shown and checked (service.md 9.2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.errors import BuildspecdError
from agent.triggers.codepipeline import request
from agent.triggers.codepipeline.service import ActionType

_HINTS = {
    "LimitExceededException": "an account has 50 custom actions a region: delete one that no pipeline names",
    "AccessDeniedException": "creating takes codepipeline:CreateCustomActionType, looking codepipeline:ListActionTypes",
}
_EXISTS = "action types are never changed: give another --action-version, and name it in the pipeline and in agent.yml"
_NOBODY = "buildspecd-check"
"""A pool that no action names, so that asking for its jobs takes none."""


def _property(name: str, description: str, kind: str = "String", **flags: bool) -> dict[str, Any]:
    plain = {"required": False, "key": False, "secret": False}
    return {"name": name, **plain, **flags, "description": description, "type": kind}


def properties() -> list[dict[str, Any]]:
    """Return the configuration that an action of this type has."""
    return [
        _property(request.PROJECT, "Project of the build agent", required=True, key=True),
        _property(request.POOL, "Which agents take the job: pipeline.pool of agent.yml", required=True, queryable=True),
        _property(request.PRIMARY, "Input artifact that has the buildspec, where there are several"),
        _property(request.VARIABLES, "JSON array of objects with name, value and type"),
        _property(request.BATCH, "Batch builds are refused: leave it out or false", "Boolean"),
        _property(request.BUILDSPEC, "Buildspec in place of the project's: a path, or the text itself"),
        _property(request.TIMEOUT, "Minutes that the build may take", "Number"),
    ]


def definition(kind: ActionType, region: str, execution_url: str | None, entity_url: str | None) -> dict[str, Any]:
    """Return the input of CreateCustomActionType; without addresses those of the log group in the console. Pure."""
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    logs = f"{console}#logsV2:log-groups/log-group/$252Faws$252Fcodebuild$252F{{Config:{request.PROJECT}}}"
    return {
        "category": kind.category,
        "provider": kind.provider,
        "version": kind.version,
        "settings": {"entityUrlTemplate": entity_url or logs, "executionUrlTemplate": execution_url or logs},
        "configurationProperties": properties(),
        "inputArtifactDetails": {"minimumCount": 1, "maximumCount": 5},
        "outputArtifactDetails": {"minimumCount": 0, "maximumCount": 5},
    }


def snippet(kind: ActionType, pool: str | None) -> dict[str, Any]:
    """Return an action for the JSON of a pipeline. Pure."""
    return {
        "name": "Build",
        "actionTypeId": kind.wire(),
        "inputArtifacts": [{"name": "SourceOutput"}],
        "outputArtifacts": [{"name": "BuildOutput"}],
        "configuration": {request.PROJECT: "my-project", request.POOL: pool or "default"},
        "namespace": "BuildVariables",
        "runOrder": 1,
    }


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok` or not, what was found, and what mends it."""

    name: str
    ok: bool
    message: str
    remedy: str = ""


class ActionTypes:
    """The custom action types of an account and region. Raises `AwsRefused` and `AwsUnavailable`."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def find(self, kind: ActionType) -> Mapping[str, Any] | None:
        """Return what CodePipeline knows of *kind*, or None."""
        more: dict[str, str] = {}
        while True:
            answer = self._call("list_action_types", actionOwnerFilter="Custom", **more)
            for one in answer.get("actionTypes", ()):
                if one.get("id") == kind.wire():
                    found: Mapping[str, Any] = one
                    return found
            if not answer.get("nextToken"):
                return None
            more = {"nextToken": answer["nextToken"]}

    def create(self, kind: ActionType, execution_url: str | None, entity_url: str | None) -> bool:
        """Have the action type; return whether it is new. Raises `AwsRefused` for one that is there and differs."""
        wanted = definition(kind, self._aws.region, execution_url, entity_url)
        found = self.find(kind)
        if found is None:
            self._call("create_custom_action_type", **wanted)
            return True
        if lacking := differences(found):
            raise AwsRefused(
                f"{kind} is there already, and differs: {lacking}", reason="Differs", text=lacking, hint=_EXISTS
            )
        return False

    def check(self, kind: ActionType, pool: str | None) -> Sequence[Finding]:
        """Return whether the action type is there and may be worked for; takes no job."""
        found: list[Finding] = []
        try:
            known = self.find(kind)
        except BuildspecdError as error:
            found.append(Finding("action type", False, error.message, error.hint))
        else:
            found.append(_judged(kind, known, pool))
        nothing = str(uuid.uuid4())
        ended = {"failureDetails": {"type": "JobFailed", "message": "a check"}}
        probes: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("PollForJobs", lambda: self._poll_for_nothing(kind)),
            ("AcknowledgeJob", lambda: self._call("acknowledge_job", jobId=nothing, nonce="1")),
            ("GetJobDetails", lambda: self._call("get_job_details", jobId=nothing)),
            ("PutJobSuccessResult", lambda: self._call("put_job_success_result", jobId=nothing)),
            ("PutJobFailureResult", lambda: self._call("put_job_failure_result", jobId=nothing, **ended)),
        )
        return [*found, *(_probed(name, probe) for name, probe in probes)]

    def _poll_for_nothing(self, kind: ActionType) -> None:
        self._call("poll_for_jobs", actionTypeId=kind.wire(), maxBatchSize=1, queryParam={request.POOL: _NOBODY})

    def _call(self, operation: str, **members: Any) -> Any:
        try:
            with translated(f"codepipeline: {operation}"):
                return getattr(self._aws.client("codepipeline", attempts=2, patience=15.0), operation)(**members)
        except AwsRefused as error:
            error.hint = error.hint or _HINTS.get(error.reason, "")
            raise


def differences(found: Mapping[str, Any]) -> str:
    """Return what an existing action type lacks of ours, in words; empty: nothing. Pure."""
    known = {str(one.get("name")): one for one in found.get("actionConfigurationProperties", ())}
    lacking = [one["name"] for one in properties() if one["name"] not in known]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    return "" if known[request.POOL].get("queryable") else f"{request.POOL} is not queryable"


def _judged(kind: ActionType, found: Mapping[str, Any] | None, pool: str | None) -> Finding:
    if found is None:
        return Finding("action type", False, f"there is no {kind}", "buildspecd pipeline install")
    if lacking := differences(found):
        return Finding("action type", False, f"{kind}: {lacking}", _EXISTS)
    jobs = f"jobs of the pool {pool}" if pool else "those of every pool: set pipeline.pool if there are several agents"
    return Finding("action type", True, f"{kind} is there; this agent takes {jobs}")


def _probed(name: str, probe: Callable[[], Any]) -> Finding:
    try:
        probe()
    except AwsRefused as error:
        if error.reason in ("JobNotFoundException", "InvalidNonceException", "ValidationException"):
            return Finding(name, True, "allowed")
        remedy = error.hint if "Denied" not in error.reason else f"allow codepipeline:{name} (aws/agent-policy.yml)"
        return Finding(name, False, error.message, remedy)
    except BuildspecdError as error:
        return Finding(name, False, error.message, error.hint)
    return Finding(name, True, "allowed")
