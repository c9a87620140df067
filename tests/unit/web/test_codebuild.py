"""The API as AWS's own client sees it: boto3 against the same application on a TCP port, without authentication."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from agent.daemon.control import ProjectState
from agent.errors import AwsUnavailable, BuildspecdError, ProjectUnknown, RequestInvalid
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.web.codebuild import call, error_json
from agent.web.server import control_app, serve_app
from tests.fakes.control import ACCOUNT, EPOCH, REGION, FakeControl, a_project, fake_arn
from tests.fakes.serving import free_listener, running


class Twin:
    """Service: the application of the control socket, on a TCP port."""

    name = "twin"

    def __init__(self, control: FakeControl, listener: socket.socket) -> None:
        self._control = control
        self._listener = listener

    def run(self, stop: StopToken) -> None:
        serve_app(control_app(self._control, fake_arn, stop), self._listener, stop)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codebuild")


@pytest.fixture
def control(directory: Path) -> FakeControl:
    return FakeControl(directory, [a_project(), a_project("api")])


@pytest.fixture
def codebuild(control: FakeControl) -> Iterator[Any]:
    listener = free_listener()
    port = listener.getsockname()[1]
    with running(Twin(control, listener), lambda: True):
        yield boto3.client(
            "codebuild",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )


def ours(control: FakeControl, operation: str, **members: Any) -> dict[str, Any]:
    import json

    return call(control, f"Buildspecd.{operation}", json.dumps(members).encode(), "ada", fake_arn)


def a_build(control: FakeControl, project: str = "web", version: str | None = None) -> Build:
    return control.start(BuildRequest(project=project, initiator="ada", source_version=version))


def test_a_build_is_started_watched_and_its_times_are_times(control: FakeControl, codebuild: Any) -> None:
    build = codebuild.start_build(
        projectName="web",
        sourceVersion="main",
        environmentVariablesOverride=[{"name": "A", "value": "1"}],
        privilegedModeOverride=True,
    )["build"]
    assert build["buildStatus"] == "IN_PROGRESS"
    assert build["arn"] == fake_arn(f"build/{build['id']}")
    assert build["startTime"] == datetime.datetime.fromtimestamp(EPOCH + 1, tz=datetime.UTC)
    assert build["environment"]["environmentVariables"] == [{"name": "A", "value": "1", "type": "PLAINTEXT"}]
    control.finish(build["id"], Status.SUCCEEDED)
    (found,) = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
    assert found["buildStatus"] == "SUCCEEDED"
    assert found["phases"][-1]["phaseType"] == "COMPLETED"
    assert found["buildComplete"] is True


def test_builds_are_found_by_id_and_arn_and_the_unknown_are_listed(control: FakeControl, codebuild: Any) -> None:
    build = a_build(control)
    missing = "web:00000000-0000-4000-8000-000000000000"
    beginning = build.id[:-4]
    answer = codebuild.batch_get_builds(ids=[build.id, build.arn, missing, beginning])
    assert [found["id"] for found in answer["builds"]] == [build.id, build.id]
    assert answer["buildsNotFound"] == [missing, beginning]


def test_a_build_id_without_a_colon_is_invalid(codebuild: Any) -> None:
    for ask in (
        lambda: codebuild.batch_get_builds(ids=["x"]),
        lambda: codebuild.stop_build(id="x"),
        lambda: codebuild.retry_build(id="x"),
        lambda: codebuild.retry_build(),
    ):
        with pytest.raises(codebuild.exceptions.InvalidInputException, match="Invalid build ID provided"):
            ask()


def test_an_unknown_project_is_a_resource_that_is_not_found(codebuild: Any) -> None:
    with pytest.raises(codebuild.exceptions.ResourceNotFoundException, match="Project cannot be found"):
        codebuild.start_build(projectName="nope")
    with pytest.raises(codebuild.exceptions.ResourceNotFoundException, match=f"{ACCOUNT}:project/nope does not exist"):
        codebuild.list_builds_for_project(projectName="nope")


def test_stop_is_for_whole_ids_and_leaves_an_ended_build_alone(control: FakeControl, codebuild: Any) -> None:
    build = a_build(control)
    with pytest.raises(codebuild.exceptions.ResourceNotFoundException):
        codebuild.stop_build(id=build.id[:-3])
    assert codebuild.stop_build(id=build.id)["build"]["buildStatus"] == "STOPPED"
    done = control.finish(a_build(control).id, Status.SUCCEEDED)
    assert codebuild.stop_build(id=done.arn)["build"]["buildStatus"] == "SUCCEEDED"


def test_the_caches_of_a_project_are_invalidated_by_name_and_by_arn(control: FakeControl, codebuild: Any) -> None:
    for name in ("web", fake_arn("project/api")):
        codebuild.invalidate_project_cache(projectName=name)
    assert control.invalidated == ["web", "api"]
    with pytest.raises(codebuild.exceptions.ResourceNotFoundException):
        codebuild.invalidate_project_cache(projectName="nope")


def test_a_retry_is_a_new_build(control: FakeControl, codebuild: Any) -> None:
    old = control.finish(a_build(control, version="main").id, Status.FAILED)
    build = codebuild.retry_build(id=old.id)["build"]
    assert build["id"] != old.id
    assert build["sourceVersion"] == "main"


def test_the_same_token_is_the_same_build_and_another_request_a_mismatch(codebuild: Any) -> None:
    first = codebuild.start_build(projectName="web", idempotencyToken="t")["build"]
    assert codebuild.start_build(projectName="web", idempotencyToken="t")["build"]["id"] == first["id"]
    with pytest.raises(codebuild.exceptions.InvalidInputException, match="mismatch"):
        codebuild.start_build(projectName="web", sourceVersion="dev", idempotencyToken="t")


def test_the_paginators_of_the_client_walk_the_whole_list(control: FakeControl, codebuild: Any) -> None:
    ids = [a_build(control, ("web", "api")[number % 2]).id for number in range(230)]
    pages = codebuild.get_paginator("list_builds").paginate()
    assert [name for found in pages for name in found["ids"]] == ids[::-1]
    pages = codebuild.get_paginator("list_builds").paginate(sortOrder="ASCENDING")
    assert [name for found in pages for name in found["ids"]] == ids
    pages = codebuild.get_paginator("list_builds_for_project").paginate(projectName="web")
    assert [name for found in pages for name in found["ids"]] == ids[::2][::-1]


def test_a_token_of_another_list_is_invalid(control: FakeControl, codebuild: Any) -> None:
    for _ in range(101):
        a_build(control)
    token = codebuild.list_builds()["nextToken"]
    with pytest.raises(codebuild.exceptions.InvalidInputException):
        codebuild.list_builds(sortOrder="ASCENDING", nextToken=token)
    with pytest.raises(codebuild.exceptions.InvalidInputException):
        codebuild.list_builds_for_project(projectName="web", nextToken=token)


def test_a_word_outside_the_enumeration_is_invalid(codebuild: Any) -> None:
    with pytest.raises(codebuild.exceptions.InvalidInputException, match="sortOrder"):
        codebuild.list_builds(sortOrder="SIDEWAYS")


def test_projects_are_listed_and_described(control: FakeControl, codebuild: Any) -> None:
    control.broken.append(ProjectState("bad", None, "/p/bad.yml", ("bad.yml:1:1: no source",)))
    assert codebuild.list_projects()["projects"] == ["api", "bad", "web"]
    assert codebuild.list_projects(sortOrder="DESCENDING")["projects"] == ["web", "bad", "api"]
    answer = codebuild.batch_get_projects(names=["web", fake_arn("project/api"), "bad", "nope"])
    assert [project["name"] for project in answer["projects"]] == ["web", "api"]
    assert answer["projectsNotFound"] == ["bad", "nope"]
    assert answer["projects"][0]["source"]["location"] == "https://host/web.git"
    assert answer["projects"][0]["arn"] == fake_arn("project/web")


def test_the_times_of_a_project_are_those_of_its_file(control: FakeControl, codebuild: Any, directory: Path) -> None:
    (directory / "web.yml").write_text("name: web\n")
    (project,) = codebuild.batch_get_projects(names=["web"])["projects"]
    assert project["lastModified"].timestamp() == pytest.approx((directory / "web.yml").stat().st_mtime, abs=0.002)
    assert codebuild.list_projects(sortBy="LAST_MODIFIED_TIME")["projects"] == ["api", "web"]


@pytest.mark.parametrize("ids", [[], ["web:1"] * 101, "web:1", [1], None])
def test_a_list_of_ids_has_one_to_a_hundred_texts(control: FakeControl, ids: Any) -> None:
    import json

    with pytest.raises(RequestInvalid, match="ids must"):
        call(control, "CodeBuild_20161006.BatchGetBuilds", json.dumps({"ids": ids}).encode(), "ada", fake_arn)


def test_our_own_listing_has_whole_builds_and_filters(control: FakeControl) -> None:
    red = control.finish(a_build(control).id, Status.FAILED)
    green = control.finish(a_build(control).id, Status.SUCCEEDED)
    other = a_build(control, "api")
    everything = ours(control, "ListBuildDetails")["builds"]
    assert [build["id"] for build in everything] == [other.id, green.id, red.id]
    assert [build["id"] for build in ours(control, "ListBuildDetails", status="FAILED")["builds"]] == [red.id]
    assert len(ours(control, "ListBuildDetails", project="web", limit=1)["builds"]) == 1
    with pytest.raises(ProjectUnknown):
        ours(control, "ListBuildDetails", project="nope")
    with pytest.raises(RequestInvalid, match="status"):
        ours(control, "ListBuildDetails", status="RED")
    with pytest.raises(RequestInvalid, match="limit"):
        ours(control, "ListBuildDetails", limit=0)


def test_our_own_project_list_tells_the_mistakes_of_broken_files(control: FakeControl) -> None:
    control.broken.append(ProjectState("bad", None, "/p/bad.yml", ("bad.yml:1:1: no source",)))
    build = a_build(control)
    api, bad, web = ours(control, "GetProjects")["projects"]
    assert bad == {"name": "bad", "file": "/p/bad.yml", "problems": ["bad.yml:1:1: no source"]}
    assert "lastBuild" not in api
    assert web["lastBuild"]["id"] == build.id
    assert web["project"]["name"] == "web"


def test_a_build_is_found_by_the_beginning_of_its_uuid(control: FakeControl) -> None:
    build = a_build(control)
    assert ours(control, "GetBuild", id=build.uuid[:8])["build"]["id"] == build.id
    with pytest.raises(RequestInvalid, match="id is required"):
        ours(control, "GetBuild")


def test_drain_and_state_tell_how_the_daemon_stands(control: FakeControl) -> None:
    assert ours(control, "State")["draining"] is False
    assert ours(control, "Drain")["draining"] is True
    assert set(ours(control, "State")) == {
        "version",
        "started",
        "draining",
        "running",
        "queued",
        "engine",
        "services",
    }


def test_trouble_of_ours_is_told_apart_from_a_mistake_of_the_caller() -> None:
    assert error_json(AwsUnavailable("down", hint="wait"))[0] == 503
    assert error_json(BuildspecdError("bug"))[0] == 500
    assert error_json(RequestInvalid("no", hint="yes")) == (
        400,
        {"__type": "InvalidInputException", "message": "no", "hint": "yes"},
    )
