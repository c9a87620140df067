"""The agent's own variables (buildspec.md 7)."""

from __future__ import annotations

from agent.environment.builtin import BuildFacts, builtin_variables, compose
from agent.environment.resolve import Environment
from agent.model.build import Build, LogRecord
from agent.model.phase import Phase, PhaseType
from agent.model.project import Environment as ProjectEnvironment
from agent.model.project import Project
from agent.model.webhook import WebhookFacts

ID = "shop:0f0e0d0c-1111-2222-3333-444455556666"
ROOT = "/codebuild/output/src123"
PROJECT = Project.model_validate(
    {
        "name": "shop",
        "source": {"type": "GITHUB", "location": "https://user:token@github.com/acme/shop.git"},
        "secondarySources": [{"type": "S3", "location": "b/k.zip", "sourceIdentifier": "lib"}],
        "secondarySourceVersions": [{"sourceIdentifier": "lib", "sourceVersion": "v7"}],
        "environment": ProjectEnvironment(image="debian:12"),
        "fileSystemLocations": [{"identifier": "cache", "mountPoint": "/mnt/efs"}],
    }
)
BUILD = Build(
    id=ID,
    arn=f"arn:aws:codebuild:eu-west-1:123456789012:build/{ID}",
    number=7,
    project=PROJECT,
    phases=(Phase(phase_type=PhaseType.SUBMITTED, start_time=1.0),),
    start_time=1695712891.548,
    initiator="me",
    source_version="main",
    resolved_source_version="a" * 40,
    source_root=ROOT,
    logs=LogRecord(stream_name="prefix/stream"),
)
FACTS = BuildFacts("eu-west-1", {None: f"{ROOT}/src/github.com/acme/shop", "lib": f"{ROOT}/src/s3/00"})


def test_every_variable_that_applies_is_set() -> None:
    assert builtin_variables(BUILD, FACTS) == {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "HOME": "/root",
        "CODEBUILD_CI": "true",
        "CODEBUILD_BUILD_ARN": BUILD.arn,
        "CODEBUILD_BUILD_ID": ID,
        "CODEBUILD_BUILD_IMAGE": "debian:12",
        "CODEBUILD_BUILD_NUMBER": "7",
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_BUILD_URL": "https://eu-west-1.console.aws.amazon.com/codebuild/home?region=eu-west-1"
        f"#/builds/{ID}/view/new",
        "CODEBUILD_GOPATH": ROOT,
        "CODEBUILD_INITIATOR": "me",
        "CODEBUILD_KMS_KEY_ID": "arn:aws:kms:eu-west-1:123456789012:alias/aws/s3",
        "CODEBUILD_LAST_EXIT": "0",
        "CODEBUILD_LOG_PATH": "prefix/stream",
        "CODEBUILD_PROJECT_ARN": "arn:aws:codebuild:eu-west-1:123456789012:project/shop",
        "CODEBUILD_START_TIME": "1695712891548",
        "CODEBUILD_SRC_DIR": f"{ROOT}/src/github.com/acme/shop",
        "CODEBUILD_SOURCE_REPO_URL": "https://github.com/acme/shop.git",
        "CODEBUILD_SOURCE_VERSION": "main",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": "a" * 40,
        "CODEBUILD_SRC_DIR_lib": f"{ROOT}/src/s3/00",
        "CODEBUILD_SOURCE_REPO_URL_lib": "s3://b/k.zip",
        "CODEBUILD_SOURCE_VERSION_lib": "v7",
        "CODEBUILD_CACHE": "/mnt/efs",
    }


def test_a_build_without_source_has_no_source_variables() -> None:
    source = PROJECT.source.evolve(type="NO_SOURCE", location=None)
    build = BUILD.evolve(project=PROJECT.evolve(source=source, secondary_sources=()))
    names = builtin_variables(build, BuildFacts("eu-west-1", {None: f"{ROOT}/src"}))
    assert [name for name in names if "SOURCE" in name] == []


def test_a_push_that_polling_saw_looks_like_one_that_a_webhook_told() -> None:
    push = BUILD.evolve(initiator="buildspecd/poll", source_ref="refs/heads/feature/x", previous_revision="b" * 40)
    found = builtin_variables(push, FACTS)
    assert {name: value for name, value in found.items() if "WEBHOOK" in name} == {
        "CODEBUILD_WEBHOOK_EVENT": "PUSH",
        "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature/x",
        "CODEBUILD_WEBHOOK_TRIGGER": "branch/feature/x",
        "CODEBUILD_WEBHOOK_PREV_COMMIT": "b" * 40,
    }
    tag = builtin_variables(push.evolve(source_ref="refs/tags/v1", previous_revision=None), FACTS)
    assert (tag["CODEBUILD_WEBHOOK_TRIGGER"], tag["CODEBUILD_WEBHOOK_PREV_COMMIT"]) == ("tag/v1", "0" * 40)


def test_a_build_that_somebody_started_was_not_pushed() -> None:
    started = builtin_variables(BUILD.evolve(source_ref="refs/heads/main"), FACTS)
    assert not [name for name in started if "WEBHOOK" in name]


def test_what_a_hook_knows_replaces_what_was_worked_out() -> None:
    webhook = WebhookFacts(event="PULL_REQUEST_CREATED", base_ref="refs/heads/main", trigger="pr/2")
    found = builtin_variables(BUILD.evolve(webhook=webhook, initiator="buildspecd/poll"), FACTS)
    assert {name: value for name, value in found.items() if "WEBHOOK" in name} == {
        "CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_CREATED",
        "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main",
        "CODEBUILD_WEBHOOK_TRIGGER": "pr/2",
    }


def test_the_agent_wins_for_its_own_names_and_the_user_for_all_others() -> None:
    users = {
        "CODEBUILD_BUILD_ID": "forged",
        "CODEBUILD_WEBHOOK_EVENT": "forged",
        "CODEBUILD_SRC_DIR_x": "forged",
        "CODEBUILD_CONFIG_AUTO_DISCOVER": "false",
        "HOME": "/home/me",
        "AWS_REGION": "us-east-1",
    }
    found = compose(Environment(users), builtin_variables(BUILD, FACTS))
    assert "forged" not in found.values()
    assert found["CODEBUILD_BUILD_ID"] == ID
    assert found["CODEBUILD_CONFIG_AUTO_DISCOVER"] == "false"
    assert (found["HOME"], found["AWS_REGION"]) == ("/home/me", "us-east-1")


def test_the_address_of_a_source_in_s3_is_the_same_however_its_location_is_written() -> None:
    def address(location: str) -> str:
        source = PROJECT.source.evolve(type="S3", location=location)
        return builtin_variables(BUILD.evolve(project=PROJECT.evolve(source=source)), FACTS)[
            "CODEBUILD_SOURCE_REPO_URL"
        ]

    assert address("b/k.zip") == address("s3://b/k.zip") == address("arn:aws:s3:::b/k.zip") == "s3://b/k.zip"
    assert address("arn:aws-cn:s3:::b/src/") == "s3://b/src/"
    assert address("file:///srv/k.zip") == "file:///srv/k.zip"
