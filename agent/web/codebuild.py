"""CodeBuild's operations, and a few of our own, as plain functions on a Control (service.md 5.3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.daemon.control import Control, DaemonState, ProjectState
from agent.errors import (
    BuildspecdError,
    BuildUnknown,
    ProjectUnknown,
    ReportUnknown,
    RequestInvalid,
    Unavailable,
    UserError,
)
from agent.model.status import Status
from agent.web import reports
from agent.web.calls import Call, Operation, choice, paged, text, texts
from agent.web.pages import SIZE, newest, page
from agent.web.shapes import build_json, project_json, project_name, request_from

CODEBUILD = "CodeBuild_20161006"
OURS = "Buildspecd"
_UNKNOWN_OPERATION = "UnknownOperationException"
_EVERYTHING = 1_000_000
_MOST_DETAILS = 1000


def call(control: Control, target: str, body: bytes, caller: str, arn: Callable[[str], str]) -> dict[str, Any]:
    """Run the operation that `X-Amz-Target` names on a JSON *body*; return its output.

    Raises what `Control` raises, and `RequestInvalid` for an unknown operation or a body that is no JSON object.
    """
    operation = OPERATIONS.get(target)
    if operation is None:
        raise RequestInvalid(f"buildspecd has no operation {target[:200]!r}", code=_UNKNOWN_OPERATION)
    try:
        members = json.loads(body or b"{}")
    except ValueError as error:
        raise RequestInvalid(f"the body is no JSON: {error}") from error
    if not isinstance(members, dict):
        raise RequestInvalid("the body must be a JSON object")
    return operation(Call(control, members, caller, arn))


def error_json(error: BuildspecdError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status and the body that tell *error* (service.md 5.1); `hint` is ours."""
    status, kind = _kind(error)
    body = {"__type": kind, "message": error.message}
    return status, {**body, "hint": error.hint} if error.hint else body


def _kind(error: BuildspecdError) -> tuple[int, str]:
    match error:
        case ProjectUnknown() | BuildUnknown() | ReportUnknown():
            return 400, "ResourceNotFoundException"
        case UserError():
            return 400, _UNKNOWN_OPERATION if error.code == _UNKNOWN_OPERATION else "InvalidInputException"
        case Unavailable():
            return 503, "ServiceUnavailable"
        case _:
            return 500, "InternalFailure"


def start_build(call: Call) -> dict[str, Any]:
    """StartBuild: queue a build; the caller is its initiator."""
    token = text(call, "idempotencyToken")
    return {"build": build_json(call.control.start(request_from(call.members, call.caller), token))}


def stop_build(call: Call) -> dict[str, Any]:
    """StopBuild: ask a build to end; one that has ended is shown as it is."""
    return {"build": build_json(call.control.stop(_exact(call, _build_id(text(call, "id"))), call.caller))}


def retry_build(call: Call) -> dict[str, Any]:
    """RetryBuild: queue a new build with the effective parameters of an old one."""
    return {"build": build_json(call.control.retry(_exact(call, _build_id(text(call, "id")))))}


def refuse_batch(call: Call) -> dict[str, Any]:
    """StartBuildBatch, StopBuildBatch, RetryBuildBatch: no batch is run, and nobody is to believe that one was."""
    raise RequestInvalid(
        "batch builds are not run by this version of buildspecd",
        hint="start a plain build, which ignores the section `batch`; `buildspecd validate` checks that section",
    )


def batch_get_builds(call: Call) -> dict[str, Any]:
    """BatchGetBuilds: builds by id or ARN; unknown ones are listed, not refused."""
    found, missing = [], []
    for given in texts(call, "ids"):
        wanted = _build_id(given)
        try:
            build = call.control.get(wanted)
        except BuildUnknown:
            missing.append(given)
            continue
        if build.id == wanted:
            found.append(build_json(build))
        else:
            missing.append(given)
    return {"builds": found, "buildsNotFound": missing}


def list_builds(call: Call) -> dict[str, Any]:
    """ListBuilds: ids of every project, newest first."""
    return _ids(call, None)


def list_builds_for_project(call: Call) -> dict[str, Any]:
    """ListBuildsForProject: ids of one project, highest number first."""
    name = project_name(call.members.get("projectName"))
    answer = _ids(call, name)
    if not answer["ids"] and name not in _states(call):
        raise ProjectUnknown(f"The provided project {call.arn(f'project/{name}')} does not exist")
    return answer


def list_projects(call: Call) -> dict[str, Any]:
    """ListProjects: names, those with a broken file included; both times are those of the file."""
    by = choice(call, "sortBy", ("NAME", "CREATED_TIME", "LAST_MODIFIED_TIME"), "NAME")
    order = choice(call, "sortOrder", ("ASCENDING", "DESCENDING"), "ASCENDING")
    states = sorted(call.control.projects(), key=lambda state: state.name)
    if by != "NAME":
        states.sort(key=lambda state: _modified(state) or 0)
    if order == "DESCENDING":
        states.reverse()
    names, token = page([state.name for state in states], f"projects {by} {order}", text(call, "nextToken"))
    return paged("projects", names, token)


def batch_get_projects(call: Call) -> dict[str, Any]:
    """BatchGetProjects: projects by name or ARN; one whose file was never right is not found."""
    states = _states(call)
    found, missing = [], []
    for given in texts(call, "names"):
        state = states.get(project_name(given))
        if state is None or state.project is None:
            missing.append(given)
        else:
            found.append(project_json(state.project, call.arn(f"project/{state.name}"), _modified(state)))
    return {"projects": found, "projectsNotFound": missing}


def invalidate_project_cache(call: Call) -> dict[str, Any]:
    """InvalidateProjectCache: no later build sees what the project's caches hold now."""
    call.control.invalidate_cache(project_name(call.members.get("projectName")))
    return {}


def get_build(call: Call) -> dict[str, Any]:
    """Buildspecd.GetBuild: one build, by anything that means one build (uuid, unique beginning, ARN, `project#7`)."""
    name = text(call, "id")
    if not name:
        raise RequestInvalid("id is required")
    return {"build": build_json(call.control.get(name))}


def list_build_details(call: Call) -> dict[str, Any]:
    """Buildspecd.ListBuildDetails: whole builds, newest first, by `project`, `status`, up to `limit` (100)."""
    name = text(call, "project")
    status = choice(call, "status", tuple(Status), None)
    limit = call.members.get("limit", SIZE)
    if not isinstance(limit, int) or not 1 <= limit <= _MOST_DETAILS:
        raise RequestInvalid(f"limit must be a number from 1 to {_MOST_DETAILS}")
    builds = call.control.builds(project=name and project_name(name), status=status, limit=limit)
    if name and not builds and project_name(name) not in _states(call):
        raise ProjectUnknown(
            f"there is no project {name}", hint="`buildspecd projects list` shows the projects of this agent"
        )
    return {"builds": [build_json(build) for build in builds]}


def get_projects(call: Call) -> dict[str, Any]:
    """Buildspecd.GetProjects: every project with its file, the mistakes in it, and its last build."""
    return {"projects": [_state_json(call, state) for state in call.control.projects()]}


def drain(call: Call) -> dict[str, Any]:
    """Buildspecd.Drain: take no new build from now on."""
    return daemon_json(call.control.drain())


def resume(call: Call) -> dict[str, Any]:
    """Buildspecd.Resume: take builds again."""
    return daemon_json(call.control.resume())


def state(call: Call) -> dict[str, Any]:
    """Buildspecd.State: how the daemon stands."""
    return daemon_json(call.control.state())


def daemon_json(state: DaemonState) -> dict[str, Any]:
    """Return the state of the daemon as JSON, member by member; `config` where a repository is followed."""
    return {name: value for name, value in asdict(state).items() if value is not None}


OPERATIONS: dict[str, Operation] = {
    f"{CODEBUILD}.StartBuild": start_build,
    f"{CODEBUILD}.StopBuild": stop_build,
    f"{CODEBUILD}.RetryBuild": retry_build,
    **{f"{CODEBUILD}.{verb}BuildBatch": refuse_batch for verb in ("Start", "Stop", "Retry")},
    f"{CODEBUILD}.BatchGetBuilds": batch_get_builds,
    f"{CODEBUILD}.ListBuilds": list_builds,
    f"{CODEBUILD}.ListBuildsForProject": list_builds_for_project,
    f"{CODEBUILD}.ListProjects": list_projects,
    f"{CODEBUILD}.BatchGetProjects": batch_get_projects,
    f"{CODEBUILD}.InvalidateProjectCache": invalidate_project_cache,
    **{f"{CODEBUILD}.{name}": operation for name, operation in reports.OPERATIONS.items()},
    f"{OURS}.GetBuild": get_build,
    f"{OURS}.ListBuildDetails": list_build_details,
    f"{OURS}.GetProjects": get_projects,
    f"{OURS}.Drain": drain,
    f"{OURS}.Resume": resume,
    f"{OURS}.State": state,
}
"""`X-Amz-Target` -> operation."""


def _ids(call: Call, project: str | None) -> dict[str, Any]:
    order = choice(call, "sortOrder", ("ASCENDING", "DESCENDING"), "DESCENDING")
    token = text(call, "nextToken")
    query = f"builds {project or ''} {order}"

    def listed(limit: int) -> list[str]:
        return [build.id for build in call.control.builds(project=project, limit=limit)]

    if order == "DESCENDING":
        ids, following = newest(listed, query, token)
    else:
        ids, following = page(listed(_EVERYTHING)[::-1], query, token)
    return paged("ids", ids, following)


def _states(call: Call) -> dict[str, ProjectState]:
    return {state.name: state for state in call.control.projects()}


def _state_json(call: Call, state: ProjectState) -> dict[str, Any]:
    document: dict[str, Any] = {"name": state.name, "file": state.file, "problems": list(state.problems)}
    if state.project is not None:
        document["project"] = project_json(state.project, call.arn(f"project/{state.name}"), _modified(state))
    if state.last_build is not None:
        document["lastBuild"] = build_json(state.last_build)
    if state.next_runs:
        document["nextRuns"] = [asdict(run) for run in state.next_runs]
    return document


def _modified(state: ProjectState) -> float | None:
    """Return when the project's file was last written, in epoch seconds (milliseconds kept)."""
    try:
        return round(Path(state.file).stat().st_mtime, 3)
    except (OSError, ValueError):
        return None


def _build_id(given: str | None) -> str:
    """Return the id that *given* (id or ARN) means. Raises `RequestInvalid` (service.md 5.5)."""
    name = (given or "").rpartition(":build/")[2]
    if ":" not in name:
        raise RequestInvalid("Invalid build ID provided", hint="an id is PROJECT:UUID")
    return name


def _exact(call: Call, build_id: str) -> str:
    """Return *build_id* if it is the whole id of a build: the API, unlike a person, may not mean one by its start."""
    if call.control.get(build_id).id != build_id:
        raise BuildUnknown(f"Build {build_id} does not exist")
    return build_id
