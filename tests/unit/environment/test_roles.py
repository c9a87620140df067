"""Service roles, assumed of a server that speaks as STS does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.aws import Aws, AwsRefused
from agent.environment.roles import AssumedRoles, RoleWish, remedy, role_of
from agent.errors import AwsUnavailable, RoleRefused
from agent.model.cause import Cause
from tests.fakes.sts import CALLER, Sts, sts_service

WISH = RoleWish(
    role="arn:aws:iam::123456789012:role/service-role/web",
    project="web",
    build="web:4a0d2f5c-0000-4000-8000-000000000001",
    session="4a0d2f5c-0000-4000-8000-000000000001",
    external_id="arn:aws:codebuild:eu-central-1:123456789012:project/web",
)


@pytest.fixture
def sts() -> Iterator[Sts]:
    with sts_service() as service:
        yield service


@pytest.fixture
def roles(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> AssumedRoles:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHOST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return AssumedRoles(Aws(region="eu-central-1", endpoint_url=sts.address))


def test_a_role_is_assumed_for_one_build_with_its_tags_and_for_an_hour(sts: Sts, roles: AssumedRoles) -> None:
    given = roles(WISH)
    (asked,) = sts.asked
    assert (asked["RoleArn"], asked["RoleSessionName"], asked["ExternalId"]) == (
        WISH.role,
        WISH.session,
        WISH.external_id,
    )
    assert asked["DurationSeconds"] == "3600"
    tags = {asked[f"Tags.member.{n}.Key"]: asked[f"Tags.member.{n}.Value"] for n in (1, 2)}
    assert tags == {"buildspecd:project": "web", "buildspecd:build": WISH.build}
    assert (given.account, given.role, given.keys.token) == ("123456789012", WISH.role, "session-1")
    assert "secret" not in repr(given)


def test_a_project_with_a_very_long_name_has_tags_that_aws_takes(sts: Sts, roles: AssumedRoles) -> None:
    name = "w" * 255
    roles(replace(WISH, project=name, build=f"{name}:{WISH.session}"))
    assert [len(sts.asked[0][f"Tags.member.{n}.Value"]) for n in (1, 2)] == [255, 256]
    assert sts.asked[0]["Tags.member.2.Value"].endswith(f":{WISH.session}")


def test_a_role_that_says_no_is_named_with_both_statements_that_are_missing(sts: Sts, roles: AssumedRoles) -> None:
    sts.denies = True
    with pytest.raises(RoleRefused) as raised:
        roles(WISH)
    error = raised.value
    assert error.message.startswith(f"serviceRole {WISH.role} cannot be assumed: AccessDenied: User: {CALLER}")
    assert (error.code, error.cause) == ("ROLE_REFUSED", Cause.ROLE_DENIED)
    caller = "arn:aws:iam::123456789012:role/buildspecd-host"
    for said in (caller, WISH.external_id, '"sts:TagSession"', '"buildspecd:build"', f'"Resource": "{WISH.role}"'):
        assert said in error.hint


def test_the_statements_are_such_that_iam_would_take_them() -> None:
    text = remedy(WISH, "arn:aws:iam::123456789012:role/host")
    found = [json.loads(one) for one in re.findall(r'\{"Effect".*?\}(?=, \{|; |\s\(|$)', text)]
    assert [one["Action"] for one in found] == [
        "sts:AssumeRole",
        "sts:TagSession",
        ["sts:AssumeRole", "sts:TagSession"],
    ]
    assert {one["Effect"] for one in found} == {"Allow"}


def test_what_is_no_role_is_refused_and_nobody_is_asked(sts: Sts, roles: AssumedRoles) -> None:
    with pytest.raises(RoleRefused, match="not the ARN of a role"):
        roles(replace(WISH, role="web-build"))
    assert sts.asked == []


def test_an_sts_that_is_down_is_no_refusal_and_may_be_asked_again(sts: Sts, roles: AssumedRoles) -> None:
    sts.down = True
    with pytest.raises(AwsUnavailable, match="sts:AssumeRole"):
        roles(WISH)
    sts.down = False
    assert roles(WISH).keys.access.startswith("ASIA")


def test_a_host_without_credentials_of_its_own_is_what_is_said_to_be_wrong(
    sts: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(AwsRefused) as raised:
        AssumedRoles(Aws(region="eu-central-1", endpoint_url=sts.address))(WISH)
    assert raised.value.cause is Cause.CREDENTIALS_MISSING


def test_the_role_of_a_session_is_found_and_what_is_none_stays_as_it_is() -> None:
    assert role_of(CALLER) == "arn:aws:iam::123456789012:role/buildspecd-host"
    assert role_of("arn:aws:iam::123456789012:user/anna") == "arn:aws:iam::123456789012:user/anna"
