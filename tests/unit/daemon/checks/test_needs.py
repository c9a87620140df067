"""Every permission that settings and projects need; each stands in the policy that is shipped."""

from __future__ import annotations

from typing import Any

from agent.daemon.checks.needs import Account, Told, key_arn, key_statement, merged, needs, places, statement
from agent.model.project import (
    AgentOptions,
    Artifacts,
    Cache,
    CloudWatchLogs,
    Environment,
    EnvironmentVariable,
    LogsConfig,
    Project,
    RegistryCredential,
    S3Logs,
    Source,
)
from tests.architecture.templates import load

HERE = Account("aws", "eu-west-1", "123456789012", "arn:aws:iam::123456789012:role/ci")
IMAGE = "210987654321.dkr.ecr.us-east-1.amazonaws.com/team/app:v1"
TOLD = Told(
    queue="https://sqs.eu-west-1.amazonaws.com/123456789012/q",
    bus="default",
    topic="arn:aws:sns:eu-west-1:123456789012:t",
    namespace="ci",
    action=("Build", "Mine", "1"),
)
WEB = Project(
    name="web",
    source=Source(type="CODECOMMIT", location="https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/web"),
    secondary_sources=(Source(type="S3", location="sources/web/", source_identifier="data"),),
    artifacts=Artifacts(type="S3", location="artifacts/web"),
    cache=Cache(type="S3", location="caches"),
    encryption_key="alias/ci",
    environment=Environment(
        image=IMAGE,
        environment_variables=(
            EnvironmentVariable(name="A", value="/ci/a:3", type="PARAMETER_STORE"),
            EnvironmentVariable(name="B", value="ci/b:key", type="SECRETS_MANAGER"),
            EnvironmentVariable(name="C", value="a:b:c:d:e:f", type="SECRETS_MANAGER"),
        ),
        registry_credential=RegistryCredential(
            credential="arn:aws:secretsmanager:eu-west-1:123456789012:secret:r-AbCdEf"
        ),
    ),
    logs_config=LogsConfig(s3_logs=S3Logs(status="ENABLED", location="arn:aws:s3:::logs/ci")),
    agent=AgentOptions(log_retention_days=30),
)


def by_action() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for need in needs(TOLD, [WEB], HERE):
        for action in need.actions:
            found.setdefault(action, set()).add(need.resource)
    return found


def test_variables_are_the_service_roles_to_read_where_there_is_one_and_registries_are_not() -> None:
    named = WEB.evolve(service_role="arn:aws:iam::123456789012:role/web")
    found = {action: need.resource for need in needs(TOLD, [named], HERE) for action in need.actions}
    assert "ssm:GetParameters" not in found
    assert found["secretsmanager:GetSecretValue"].endswith("secret:r-AbCdEf")


def test_each_action_is_needed_on_the_things_that_the_project_names() -> None:
    found = by_action()
    here = "eu-west-1:123456789012"
    assert found["logs:CreateLogGroup"] == {f"arn:aws:logs:{here}:log-group:/aws/codebuild/web"}
    assert found["logs:PutLogEvents"] == {f"arn:aws:logs:{here}:log-group:/aws/codebuild/web:log-stream:*"}
    assert found["logs:PutRetentionPolicy"] == found["logs:CreateLogGroup"]
    assert found["s3:PutObject"] == {"arn:aws:s3:::artifacts/web/*", "arn:aws:s3:::caches/*", "arn:aws:s3:::logs/ci/*"}
    assert found["s3:GetObject"] == {"arn:aws:s3:::caches/*", "arn:aws:s3:::sources/web/*"}
    assert found["s3:ListBucket"] == {"arn:aws:s3:::caches", "arn:aws:s3:::sources"}
    assert found["codecommit:GitPull"] == {f"arn:aws:codecommit:{here}:web"}
    assert found["kms:GenerateDataKey"] == {f"arn:aws:kms:{here}:alias/ci"}
    assert found["ssm:GetParameters"] == {f"arn:aws:ssm:{here}:parameter/ci/a"}
    secrets = {f"arn:aws:secretsmanager:{here}:secret:ci/b-??????", f"arn:aws:secretsmanager:{here}:secret:r-AbCdEf"}
    assert secrets <= found["secretsmanager:GetSecretValue"]
    assert found["ecr:BatchGetImage"] == {"arn:aws:ecr:us-east-1:210987654321:repository/team/app"}
    assert found["ecr:GetAuthorizationToken"] == {"*"}
    assert found["sqs:ReceiveMessage"] == {f"arn:aws:sqs:{here}:q"}
    assert found["events:PutEvents"] == {f"arn:aws:events:{here}:event-bus/default"}
    assert found["codepipeline:PollForJobs"] == {f"arn:aws:codepipeline:{here}:actiontype:Custom/Build/Mine/1"}


def test_the_policy_that_is_shipped_allows_every_action_under_the_same_sid() -> None:
    listed = load("agent-policy.yml")["Resources"]["AgentPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    statements = [one["Fn::If"][1] if "Fn::If" in one else one for one in listed]
    shipped = {one["Sid"]: one["Action"] for one in statements}
    for need in needs(TOLD, [WEB], HERE):
        allowed = shipped[need.sid]
        allowed = [allowed] if isinstance(allowed, str) else allowed
        assert set(need.actions) <= set(allowed), need


def test_a_project_that_stores_on_this_host_alone_needs_nothing_of_s3() -> None:
    quiet = LogsConfig(cloud_watch_logs=CloudWatchLogs(status="DISABLED"))
    local = Project(
        name="local",
        source=Source(type="NO_SOURCE"),
        artifacts=Artifacts(type="S3", location="file:///srv/a"),
        cache=Cache(type="S3", location="no such place"),
        environment=Environment(image="debian"),
        logs_config=quiet,
    )
    assert (needs(Told(), [local], HERE), places(local)) == ([], {})


def test_keys_are_named_by_their_arns_and_a_key_policy_names_the_role() -> None:
    assert key_arn("1234", HERE).endswith(":key/1234")
    assert key_arn("arn:aws:kms:x", HERE) == "arn:aws:kms:x"
    assert key_statement(HERE)["Principal"] == {"AWS": "arn:aws:iam::123456789012:role/ci"}


def test_statements_become_one_policy_with_sids_that_differ() -> None:
    given: list[dict[str, Any]] = [
        statement("Read", ["s3:GetObject"], ["arn:b"]),
        statement("Read", ["s3:GetObject"], ["arn:a"]),
        statement("Read", ["s3:ListBucket"], ["arn:c"]),
        statement("Count", ["cloudwatch:PutMetricData"], ["*"], (("cloudwatch:namespace", "ci"),)),
    ]
    policy = merged(given)
    assert [one["Sid"] for one in policy["Statement"]] == ["Read", "Read2", "Count"]
    assert policy["Statement"][0]["Resource"] == ["arn:a", "arn:b"]
    assert policy["Statement"][2]["Condition"] == {"StringEquals": {"cloudwatch:namespace": "ci"}}
    assert given[1]["Resource"] == ["arn:a"], "what was given is left as it is"
