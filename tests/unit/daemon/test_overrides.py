"""Overrides: what a start request may change, and what it is told when it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from agent.daemon.overrides import effective, variables
from agent.errors import RequestInvalid
from agent.model.project import AgentOptions, EnvironmentVariable, Project, Resources
from tests.unit.notify.builds import a_full_project
from tests.unit.store.samples import a_project

PROJECT = a_project()
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci/git-AbCdEf"


@pytest.mark.parametrize(
    "project",
    [
        PROJECT,
        a_full_project(),
        a_project(agent=AgentOptions(poll=15, supersede="queued", resources=Resources(cpus=0.5), preflight=("db:1",))),
        a_project(timeout_in_minutes=0.05),
    ],
)
def test_without_overrides_a_project_stays_what_it_is(project: Project) -> None:
    assert effective(project, {}) == project


@pytest.mark.parametrize(
    ("member", "value", "place"),
    [
        ("imageOverride", "alpine:3", "environment.image"),
        ("privilegedModeOverride", True, "environment.privileged_mode"),
        ("computeTypeOverride", "BUILD_GENERAL1_LARGE", "environment.compute_type"),
        ("environmentTypeOverride", "ARM_CONTAINER", "environment.type"),
        ("imagePullCredentialsTypeOverride", "SERVICE_ROLE", "environment.image_pull_credentials_type"),
        ("certificateOverride", "bucket/cert.pem", "environment.certificate"),
        ("hostKernelOverride", "k", "environment.host_kernel"),
        ("buildspecOverride", "other.yml", "source.buildspec"),
        ("sourceTypeOverride", "GITHUB", "source.type"),
        ("sourceLocationOverride", "https://other/x.git", "source.location"),
        ("gitCloneDepthOverride", 1, "source.git_clone_depth"),
        ("insecureSslOverride", True, "source.insecure_ssl"),
        ("reportBuildStatusOverride", True, "source.report_build_status"),
        ("timeoutInMinutesOverride", 5, "timeout_in_minutes"),
        ("queuedTimeoutInMinutesOverride", 7, "queued_timeout_in_minutes"),
        ("serviceRoleOverride", "arn:aws:iam::1:role/r", "service_role"),
        ("encryptionKeyOverride", "alias/k", "encryption_key"),
        ("autoRetryLimitOverride", 2, "auto_retry_limit"),
    ],
)
def test_an_override_changes_its_place_and_nothing_else(member: str, value: object, place: str) -> None:
    changed = effective(PROJECT, {member: value})
    outer, _, last = place.rpartition(".")
    assert getattr(getattr(changed, outer) if outer else changed, last) == value
    inner = getattr(PROJECT, outer).evolve(**{last: value}) if outer else None
    assert changed == PROJECT.evolve(**({outer: inner} if outer else {last: value}))


def test_an_override_of_a_whole_part_replaces_it() -> None:
    overrides = {
        "artifactsOverride": {"type": "S3", "location": "bucket", "packaging": "ZIP"},
        "cacheOverride": {"type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"]},
        "logsConfigOverride": {"cloudWatchLogs": {"status": "DISABLED"}, "s3Logs": {"status": "DISABLED"}},
        "secondarySourcesOverride": [{"type": "S3", "location": "b/k", "sourceIdentifier": "data"}],
        "secondarySourcesVersionOverride": [{"sourceIdentifier": "data", "sourceVersion": "v1"}],
        "secondaryArtifactsOverride": [{"type": "S3", "location": "b", "artifactIdentifier": "docs"}],
        "sourceAuthOverride": {"type": "SECRETS_MANAGER", "resource": ARN},
        "gitSubmodulesConfigOverride": {"fetchSubmodules": True},
        "buildStatusConfigOverride": {"context": "ci"},
        "registryCredentialOverride": {"credential": "c", "credentialProvider": "SECRETS_MANAGER"},
        "fleetOverride": {"fleetArn": "arn:aws:codebuild:f"},
    }
    changed = effective(PROJECT, overrides).wire()
    assert changed["artifacts"]["packaging"] == "ZIP"
    assert changed["cache"] == {"type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"]}
    assert changed["logsConfig"]["cloudWatchLogs"]["status"] == "DISABLED"
    assert changed["secondarySources"][0]["sourceIdentifier"] == "data"
    assert changed["secondarySourceVersions"] == [{"sourceIdentifier": "data", "sourceVersion": "v1"}]
    assert changed["secondaryArtifacts"][0]["artifactIdentifier"] == "docs"
    assert changed["source"]["auth"] == {"type": "SECRETS_MANAGER", "resource": ARN}
    assert changed["source"]["gitSubmodulesConfig"] == {"fetchSubmodules": True}
    assert changed["source"]["buildStatusConfig"] == {"context": "ci"}
    assert changed["environment"]["registryCredential"]["credential"] == "c"
    assert changed["environment"]["fleet"] == {"fleetArn": "arn:aws:codebuild:f"}


def test_our_own_options_are_overridden_one_by_one() -> None:
    project = a_project(agent=AgentOptions(network="bridge", supersede="queued"))
    changed = effective(project, {"agentOverride": {"network": "none"}})
    assert (changed.agent.network, changed.agent.supersede) == ("none", "queued")


def test_the_project_itself_is_not_changed() -> None:
    before = PROJECT.wire()
    effective(PROJECT, {"imageOverride": "alpine:3"})
    assert PROJECT.wire() == before


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"imageOverrride": "x"}, "imageOverrride"),
        ({"timeoutInMinutesOverride": 99_999}, "timeoutInMinutes"),
        ({"timeoutInMinutesOverride": "soon"}, "timeoutInMinutes"),
        ({"sourceTypeOverride": "FTP"}, "source.type"),
        ({"imageOverride": ""}, "environment.image"),
        ({"cacheOverride": "S3"}, "cache"),
        ({"artifactsOverride": {"type": "S3", "colour": "red"}}, "artifacts.colour"),
        ({"agentOverride": {"colour": "red"}}, "agent.colour"),
        ({"agentOverride": "host"}, "agent"),
        ({"agentOverride": None}, "agent"),
    ],
)
def test_what_makes_no_sense_is_named(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestInvalid, match=named):
        effective(PROJECT, overrides)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(RequestInvalid) as caught:
        effective(PROJECT, {"imageOverride": "", "timeoutInMinutesOverride": -1})
    assert "environment.image" in caught.value.message
    assert "timeoutInMinutes" in caught.value.message


def test_the_variables_of_a_request_are_read_in_their_order() -> None:
    entries = [{"name": "A", "value": "1"}, {"name": "B", "value": "/p", "type": "PARAMETER_STORE"}]
    assert variables({"environmentVariablesOverride": entries}) == (
        EnvironmentVariable(name="A", value="1"),
        EnvironmentVariable(name="B", value="/p", type="PARAMETER_STORE"),
    )


def test_a_request_without_variables_has_none() -> None:
    assert variables({}) == ()


@pytest.mark.parametrize(
    "entries",
    [[{"name": "A"}], [{"name": "", "value": "1"}], [{"name": "A", "value": "1", "type": "X"}], ["A=1"], 5, None],
)
def test_variables_that_make_no_sense_are_refused(entries: object) -> None:
    with pytest.raises(RequestInvalid):
        variables({"environmentVariablesOverride": entries})


def test_a_refusal_does_not_tell_the_value_of_a_variable() -> None:
    entries = [{"name": "A", "value": "hunter2", "type": "SECRET"}, {"name": "B", "value": ["hunter2"]}]
    with pytest.raises(RequestInvalid) as caught:
        variables({"environmentVariablesOverride": entries})
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "overrides",
    [
        {"sourceAuthOverride": {"type": "SECRETS_MANAGER", "resource": "ghp_token"}},
        {"sourceAuthOverride": {"type": "OAUTH", "resource": "ghp_token"}},
        {"sourceLocationOverride": "https://me:ghp_token@github.com/a/b"},
        {
            "secondarySourcesOverride": [
                {"type": "GIT", "location": "https://me:ghp_token@h/b", "sourceIdentifier": "x"},
            ]
        },
        {
            "secondarySourcesOverride": [
                {"type": "GIT", "location": "h", "auth": {"type": "SECRETS_MANAGER", "resource": "ghp_token"}}
            ]
        },
    ],
)
def test_a_token_in_an_override_is_refused_since_it_would_be_stored(overrides: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid) as caught:
        effective(PROJECT, overrides)
    assert "ghp_token" not in str(caught.value) + caught.value.hint
    assert "Override" in str(caught.value)
