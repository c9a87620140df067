"""What is tried without changing anything: a refusal names the permission, and its statement comes with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.daemon.checks import trials
from agent.daemon.checks.check import Check
from agent.daemon.checks.needs import Account, Need
from agent.daemon.checks.permissions import Hasty, permissions, whoami, with_role
from agent.errors import VariableUnresolved
from agent.objects.location import BucketLocation
from tests.fakes.aws_door import ACCOUNT, ROLE, SESSION, Door, Refusal, aws_door, simulated

HERE = Account("aws", "us-east-1", ACCOUNT, ROLE)
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k-1"
DENIED = "User: {} is not authorized to perform: {} on resource: {} because no {} policy allows the {} action"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="module")
def running() -> Iterator[Door]:
    with aws_door() as one:
        yield one


@pytest.fixture
def door(running: Door) -> Door:
    running.__post_init__()
    running.asked.clear()
    return running


@pytest.fixture
def aws(door: Door) -> Hasty:
    return Hasty(region="us-east-1", endpoint_url=door.address)


def only(found: Iterator[Check]) -> Check:
    (check,) = found
    return check


def key(aws: Hasty, given: str = KEY) -> Check:
    return only(trials.key("key of web", given, lambda _: aws, HERE))


def test_a_key_that_may_be_used_is_tried_by_a_dry_run(aws: Hasty, door: Door) -> None:
    assert key(aws).status == "ok"
    assert [asked.get("DryRun") for name, asked in door.asked if name == "GenerateDataKey"] == [True]


def test_a_key_policy_that_refuses_is_told_with_the_statement_for_it(aws: Hasty, door: Door) -> None:
    text = DENIED.format(SESSION, "kms:GenerateDataKey", KEY, "resource-based", "kms:GenerateDataKey")
    door.answers["GenerateDataKey"] = Refusal("AccessDeniedException", text)
    check = key(aws)
    assert check.status == "fail"
    assert "kms:GenerateDataKey" in check.message
    assert "key policy refuses" in check.remedy
    assert f"aws kms get-key-policy --region us-east-1 --key-id {KEY} --policy-name default" in check.remedy
    assert check.statement == {
        "Sid": "AllowBuildspecd",
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": ["kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": "*",
    }


def test_a_role_without_the_permission_for_a_key_is_told_with_its_statement(aws: Hasty, door: Door) -> None:
    text = DENIED.format(SESSION, "kms:DescribeKey", KEY, "identity-based", "kms:DescribeKey")
    door.answers["DescribeKey"] = Refusal("AccessDeniedException", text)
    check = key(aws)
    assert check.statement is not None
    assert (check.statement["Sid"], check.statement["Resource"]) == ("EncryptWithProjectKeys", [KEY])


def test_a_key_that_is_gone_disabled_or_far_away_is_told_apart(aws: Hasty, door: Door) -> None:
    far = KEY.replace("us-east-1", "eu-west-1")
    assert "S3 takes only keys of a bucket's own region" in key(aws, far).message
    door.answers["DescribeKey"] = {"KeyMetadata": {"KeyId": "k-1", "Enabled": False, "KeyState": "PendingDeletion"}}
    assert "PendingDeletion" in key(aws).message
    door.answers["DescribeKey"] = Refusal("NotFoundException", "Alias is not found.")
    assert key(aws, "alias/web").message == f"there is no key arn:aws:kms:us-east-1:{ACCOUNT}:alias/web"


def bucket(aws: Hasty) -> list[Check]:
    return list(trials.bucket("cache of web", BucketLocation("it", "cache"), aws, HERE))


def test_a_bucket_is_tried_by_a_part_for_an_upload_that_does_not_exist(aws: Hasty, door: Door) -> None:
    (check,) = bucket(aws)
    assert (check.status, check.message) == ("ok", "it in us-east-1 may be written to")
    assert door.asked[-1] == ("UploadPart", {"path": "/it/cache/buildspecd-doctor"})


def test_a_bucket_that_refuses_far_away_or_missing_is_told_apart(aws: Hasty, door: Door) -> None:
    door.answers["UploadPart"] = Refusal("AccessDenied", "Access Denied", 403)
    (check,) = bucket(aws)
    assert check.status == "fail"
    assert check.statement is not None
    assert check.statement["Resource"] == ["arn:aws:s3:::it/cache/*"]
    assert "s3:PutObject" in check.statement["Action"]
    assert "get-bucket-policy --bucket it" in check.remedy
    door.answers["HeadBucket"] = Refusal("403", "", 403)
    looked, written = bucket(aws)
    assert (looked.status, written.status) == ("warn", "fail")
    door.answers["HeadBucket"] = Refusal("404", "", 404)
    (check,) = bucket(aws)
    assert check.remedy == "aws s3 mb s3://it, or correct the project"
    door.__post_init__()
    door.answers["HeadBucket"] = {"x-amz-bucket-region": "eu-west-1"}
    (check,) = bucket(aws)
    assert (check.status, "is in eu-west-1" in check.message) == ("warn", True)
    door.answers["UploadPart"] = Refusal("InternalError", "", 500)
    (check,) = bucket(aws)
    assert (check.status, "could not be tried" in check.message) == ("warn", True)


def test_a_log_group_is_tried_by_a_line_for_a_stream_that_does_not_exist(aws: Hasty, door: Door) -> None:
    need = Need("WriteBuildLogs", ("logs:PutLogEvents",), "arn:g", "web")

    def look() -> Check:
        return only(trials.log_group("log group of web", "/g", aws, need))

    assert look().message == "/g takes lines"
    door.answers["PutLogEvents"] = Refusal("ResourceNotFoundException", "The specified log group does not exist.")
    assert "the first build makes it" in look().message
    door.answers["PutLogEvents"] = Refusal("AccessDeniedException", "not authorized to perform: logs:PutLogEvents")
    assert (look().status, look().statement) == ("fail", need.statement)


def test_a_parameter_that_may_not_be_read_is_told_with_its_statement() -> None:
    need = Need("ReadParameters", ("ssm:GetParameters",), "arn:p", "web")

    def read(names: object) -> None:
        raise VariableUnresolved(f"AccessDeniedException: not authorized to perform ssm:GetParameters on {names}")

    denied = only(trials.values("variables of web", read, ["/p"], [need]))
    assert (denied.status, denied.statement) == ("fail", need.statement)
    assert only(trials.values("variables of web", lambda _: None, ["/p"], [])).message == "/p can be read"


NEEDS = [
    Need("WriteBuildLogs", ("logs:CreateLogGroup",), "arn:g1", "web"),
    Need("WriteBuildLogs", ("logs:CreateLogGroup",), "arn:g2", "shop"),
    Need("CountBuilds", ("cloudwatch:PutMetricData",), "*", "metrics.namespace", (("cloudwatch:namespace", "ci"),)),
]


def test_what_the_simulator_does_not_allow_is_named_with_who_needs_it(aws: Hasty, door: Door) -> None:
    def answer(form: dict[str, str]) -> str:
        if form["ActionNames.member.1"] == "cloudwatch:PutMetricData":
            assert form["ContextEntries.member.1.ContextKeyName"] == "cloudwatch:namespace"
            return simulated(("cloudwatch:PutMetricData", "*", "allowed"))
        if "Marker" not in form:
            return simulated(("logs:CreateLogGroup", "arn:g1", "allowed"), marker="more")
        return simulated(("logs:CreateLogGroup", "arn:g2", "implicitDeny"))

    door.answers["SimulatePrincipalPolicy"] = answer
    logs, metrics = permissions(aws, with_role(whoami(aws)[0], aws), NEEDS)
    assert metrics.status == "ok"
    assert (logs.status, logs.message) == ("fail", "logs:CreateLogGroup is not allowed on arn:g2 (needed by shop)")
    assert logs.statement is not None
    assert logs.statement["Resource"] == ["arn:g2"]
    sources = {asked["PolicySourceArn"] for name, asked in door.asked if name == "SimulatePrincipalPolicy"}
    assert sources == {ROLE}, "the role with its path, and not the session"


def _detail(name: str, by: str) -> str:
    return f"<{name}DecisionDetail><AllowedBy{by}>false</AllowedBy{by}></{name}DecisionDetail>"


@pytest.mark.parametrize(
    ("decision", "more", "word"),
    [
        ("explicitDeny", "", "look for a Deny"),
        (
            "implicitDeny",
            _detail("Organizations", "Organizations"),
            "service control policy",
        ),
        (
            "implicitDeny",
            _detail("PermissionsBoundary", "PermissionsBoundary"),
            "permissions boundary",
        ),
    ],
)
def test_where_no_statement_helps_none_is_given(aws: Hasty, door: Door, decision: str, more: str, word: str) -> None:
    door.answers["SimulatePrincipalPolicy"] = simulated(("logs:CreateLogGroup", "arn:g1", decision), more=more)
    check = only(permissions(aws, HERE, NEEDS[:1]))
    assert (check.status, check.statement) == ("fail", None)
    assert word in check.remedy


def test_a_role_that_may_not_simulate_is_told_which_statement_lets_it(aws: Hasty, door: Door) -> None:
    door.answers["SimulatePrincipalPolicy"] = Refusal("AccessDenied", "not authorized", 403)
    check = only(permissions(aws, HERE, NEEDS))
    assert (check.status, check.name) == ("skipped", "permissions")
    assert check.statement is not None
    assert check.statement["Resource"] == [ROLE]
    door.answers["SimulatePrincipalPolicy"] = Refusal("InternalFailure", "", 500)
    assert only(permissions(aws, HERE, NEEDS)).status == "skipped"


def test_a_role_whose_path_may_not_be_asked_for_is_taken_to_have_none(aws: Hasty, door: Door) -> None:
    door.answers["GetRole"] = Refusal("AccessDenied", "not authorized", 403)
    account, text = whoami(aws)
    assert text == f"account {ACCOUNT} as {SESSION}"
    assert with_role(account, aws).principal == f"arn:aws:iam::{ACCOUNT}:role/buildspecd"
    user = Account("aws", "us-east-1", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/me")
    assert with_role(user, aws) == user
