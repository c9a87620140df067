"""A build and a project in the words of the API; StartBuild's input as a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest

from agent.errors import RequestInvalid
from agent.model.build import ArtifactRecord, Build, CacheRecord, ExportedVariable, LogRecord
from agent.model.phase import PhaseContext, PhaseType
from agent.model.project import Artifacts, EnvironmentVariable, LogsConfig, Source, Webhook
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.web.shapes import build_json, project_json, project_name, request_from, without_login
from tests.fakes.control import FakeControl, a_project

ARN = "arn:aws:codebuild:eu-central-1:123456789012:project/web"


@pytest.fixture
def control(tmp_path: Path) -> FakeControl:
    return FakeControl(tmp_path, [a_project()])


@pytest.fixture
def running(control: FakeControl) -> Build:
    return control.start(BuildRequest(project="web", initiator="ada", source_version="main"))


def test_a_queued_build_has_the_members_of_the_api_and_numbers_for_times(running: Build) -> None:
    document = build_json(running)
    assert document["id"] == running.id
    assert document["buildStatus"] == "IN_PROGRESS"
    assert document["buildComplete"] is False
    assert document["currentPhase"] == "QUEUED"
    assert document["sourceVersion"] == "main"
    assert isinstance(document["startTime"], float)
    assert "endTime" not in document
    assert document["phases"][-1] == {"phaseType": "QUEUED", "startTime": running.start_time}
    assert "contexts" not in document["phases"][0]


def test_every_member_of_a_build_and_a_project_but_ours_is_in_the_model_of_the_api(running: Build) -> None:
    model = botocore.session.Session().get_service_model("codebuild")
    for shape, document in (("Build", build_json(running)), ("Project", project_json(a_project(), ARN, 5.0))):
        assert set(document) - {"buildspecd"} <= set(model.shape_for(shape).members)
        for name in ("source", "artifacts", "cache", "environment", "logs"):
            if name in document:
                assert set(document[name]) <= set(model.shape_for(shape).members[name].members), name


def test_a_finished_build_ends_in_a_completed_phase_with_a_start_only(control: FakeControl, running: Build) -> None:
    context = PhaseContext(status_code="COMMAND_EXECUTION_ERROR", message="exit status 1")
    document = build_json(control.finish(running.id, Status.FAILED, context=context))
    last, red = document["phases"][-1], document["phases"][-2]
    assert set(last) == {"phaseType", "startTime"}
    assert red["phaseStatus"] == "FAILED"
    assert red["durationInSeconds"] == 2
    assert red["contexts"] == [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "exit status 1"}]
    assert document["phases"][2]["contexts"] == [{"statusCode": "", "message": ""}]
    assert document["endTime"] == last["startTime"]


def test_what_only_we_know_is_under_our_own_key(running: Build) -> None:
    build = running.evolve(
        steps_done=("provision",),
        cache=CacheRecord(restored="hit", saved=True, files=3),
        logs=LogRecord(bytes=10, lines=2, delivered={"s3": 10}),
        advice="use a newer image",
        source_ref="refs/heads/main",
        retry_of="web:1",
    )
    assert build_json(build)["buildspecd"] == {
        "steps": ["provision"],
        "cache": {"restored": "hit", "saved": True, "files": 3},
        "logs": {
            "bytes": 10,
            "lines": 2,
            "delivered": {"s3": 10},
            "deliveredLines": {"s3": 2},
            "gaps": [],
            "maybeTwice": [],
            "problems": {},
        },
        "sourceRef": "refs/heads/main",
        "retryOf": "web:1",
        "timedOut": False,
        "advice": "use a newer image",
    }


def test_variables_of_the_start_request_win_and_secrets_show_their_names(running: Build) -> None:
    environment = running.project.environment.evolve(
        environment_variables=(
            EnvironmentVariable(name="A", value="project"),
            EnvironmentVariable(name="KEY", value="/prod/key", type="PARAMETER_STORE"),
        )
    )
    build = running.evolve(
        project=running.project.evolve(environment=environment),
        overrides=(EnvironmentVariable(name="A", value="mine"), EnvironmentVariable(name="B", value="new")),
        exported=(ExportedVariable(name="OUT", value="1"),),
    )
    document = build_json(build)
    assert document["environment"]["environmentVariables"] == [
        {"name": "A", "value": "mine", "type": "PLAINTEXT"},
        {"name": "KEY", "value": "/prod/key", "type": "PARAMETER_STORE"},
        {"name": "B", "value": "new", "type": "PLAINTEXT"},
    ]
    assert document["exportedEnvironmentVariables"] == [{"name": "OUT", "value": "1"}]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://host/r.git", "https://host/r.git"),
        ("https://token@host/r.git", "https://***@host/r.git"),
        ("HTTPS://me:p@ss@host/r@x.git", "HTTPS://***@host/r@x.git"),
        ("git@host:r.git", "git@host:r.git"),
        ("ssh://git@host/r.git", "ssh://git@host/r.git"),
    ],
)
def test_a_token_in_the_address_of_a_source_is_not_shown(location: str, shown: str, running: Build) -> None:
    assert without_login(location) == shown
    project = running.project.evolve(source=Source(type="GIT", location=location))
    assert build_json(running.evolve(project=project))["source"]["location"] == shown


def test_the_secret_of_a_webhook_is_not_shown() -> None:
    project = a_project().evolve(webhook=Webhook(secret="env:HOOK", filter_groups=()))
    assert project_json(project, ARN)["webhook"] == {"filterGroups": []}


def test_logs_have_their_arns_and_links(running: Build) -> None:
    build = running.evolve(
        logs=LogRecord(group_name="/aws/codebuild/web", stream_name="u-1", s3_location="arn:aws:s3:::logs/web/u-1.gz")
    )
    logs = build_json(build)["logs"]
    assert logs["groupName"] == "/aws/codebuild/web"
    assert logs["cloudWatchLogsArn"] == (
        "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/codebuild/web:log-stream:u-1"
    )
    assert logs["deepLink"].endswith("#logsV2:log-groups/log-group/$252Faws$252Fcodebuild$252Fweb/log-events/u-1")
    assert logs["s3LogsArn"] == "arn:aws:s3:::logs/web/u-1.gz"
    assert logs["s3DeepLink"] == "https://s3.console.aws.amazon.com/s3/object/logs/web/u-1.gz?region=eu-central-1"


def test_a_stream_that_is_still_to_come_is_called_null(running: Build) -> None:
    config = LogsConfig.model_validate({"cloudWatchLogs": {"status": "ENABLED"}})
    logs = build_json(running.evolve(project=running.project.evolve(logs_config=config)))["logs"]
    assert logs["cloudWatchLogsArn"].endswith(":log-group:null:log-stream:null")
    assert "groupName" not in logs
    assert logs["cloudWatchLogs"] == {"status": "ENABLED"}


def test_a_log_in_a_directory_of_this_host_keeps_its_address(running: Build) -> None:
    logs = build_json(running.evolve(logs=LogRecord(s3_location="file:///logs/u-1.gz")))["logs"]
    assert logs == {"s3LogsArn": "file:///logs/u-1.gz", "s3DeepLink": "file:///logs/u-1.gz"}


def test_artifacts_carry_the_settings_before_the_upload_and_the_sums_after_it(running: Build) -> None:
    wanted = Artifacts(type="S3", location="b", artifact_identifier="docs")
    build = running.evolve(project=running.project.evolve(secondary_artifacts=(wanted,)))
    assert build_json(build)["artifacts"]["location"] == ""
    assert build_json(build)["secondaryArtifacts"][0]["artifactIdentifier"] == "docs"
    made = ArtifactRecord(location="arn:aws:s3:::b/docs", sha256sum="00", artifact_identifier="docs")
    (shown,) = build_json(build.evolve(secondary_artifacts=(made,)))["secondaryArtifacts"]
    assert (shown["location"], shown["sha256sum"]) == ("arn:aws:s3:::b/docs", "00")


def test_a_fraction_of_a_minute_is_rounded_up_since_the_api_has_whole_ones(running: Build) -> None:
    build = running.evolve(project=running.project.evolve(timeout_in_minutes=0.5))
    assert build_json(build)["timeoutInMinutes"] == 1


def test_the_default_key_follows_the_arn() -> None:
    arn = ARN.replace("arn:aws:", "arn:aws-cn:")
    assert project_json(a_project(), arn)["encryptionKey"] == "arn:aws-cn:kms:eu-central-1:123456789012:alias/aws/s3"


def test_a_timed_out_build_says_so_under_our_key(control: FakeControl, running: Build) -> None:
    document = build_json(control.finish(running.id, Status.TIMED_OUT, phase=PhaseType.BUILD))
    assert document["buildStatus"] == "FAILED"
    assert document["buildspecd"]["timedOut"] is True


def test_every_override_of_the_api_gets_through() -> None:
    model = botocore.session.Session().get_service_model("codebuild")
    kinds: dict[str, Any] = {"string": "x", "list": [], "structure": {}, "integer": 6, "boolean": True}
    shape = model.operation_model("StartBuild").input_shape
    assert shape is not None
    members = {name: kinds[member.type_name] for name, member in shape.members.items()}
    request = request_from({**members, "projectName": "web"}, "ada")
    assert request.project == "web"
    assert request.source_version == "x"
    assert set(request.overrides) == set(members) - {"projectName", "sourceVersion", "idempotencyToken"}


def test_unknown_members_of_a_start_request_are_named() -> None:
    with pytest.raises(RequestInvalid, match="agentOverride, imageOveride"):
        request_from({"projectName": "web", "imageOveride": "x", "agentOverride": {}}, "ada")


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("privilegedModeOverride", "true", "true or false"),
        ("gitCloneDepthOverride", True, "an integer"),
        ("gitCloneDepthOverride", "1", "an integer"),
        ("environmentVariablesOverride", {}, "a list"),
        ("imageOverride", 5, "a string"),
        ("sourceVersion", 5, "a string"),
        ("artifactsOverride", [], "an object"),
    ],
)
def test_a_member_of_the_wrong_type_is_refused(member: str, value: object, words: str) -> None:
    with pytest.raises(RequestInvalid, match=f"{member} must be {words}"):
        request_from({"projectName": "web", member: value}, "ada")


def test_a_project_is_named_by_name_or_arn() -> None:
    assert project_name("web") == "web"
    assert project_name(ARN) == "web"


@pytest.mark.parametrize("bad", [None, "", 5, "a b", "../etc", "x", "arn:aws:codebuild:::build/web:1"])
def test_a_project_name_that_cannot_be_one_is_refused(bad: object) -> None:
    with pytest.raises(RequestInvalid):
        project_name(bad)


def test_times_have_milliseconds_at_most(running: Build) -> None:
    phases = tuple(phase.evolve(start_time=1.7654321) for phase in running.phases)
    document = build_json(running.evolve(start_time=1.2345678, end_time=2.0004999, phases=phases))
    assert (document["startTime"], document["endTime"]) == (1.235, 2.0)
    assert document["phases"][-1]["startTime"] == 1.765
