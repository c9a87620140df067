"""Parameter Store and Secrets Manager, against a server that speaks their protocol (cases 53 to 56)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from agent.aws import Aws
from agent.environment.secrets_manager import SecretReference, SecretsManager, parse_reference
from agent.environment.ssm import ParameterStore
from agent.errors import AwsUnavailable, VariableUnresolved

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A fresh AWS with nothing in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Clients of that AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return Aws(region="eu-west-1", endpoint_url=endpoint)


def test_parameters_are_read_in_batches_of_ten_whatever_the_order_of_the_answer(aws: Aws) -> None:
    names = [f"/batch/{number:02}" for number in range(23)]
    for name in names:
        aws.client("ssm").put_parameter(Name=name, Value=f"value of {name}", Type="SecureString", Overwrite=True)
    asked = [*reversed(names), names[0]]
    assert ParameterStore(aws)(asked) == {name: f"value of {name}" for name in names}


def test_a_parameter_is_found_by_version_and_by_arn(aws: Aws) -> None:
    ssm = aws.client("ssm")
    for value in ("old", "new"):
        ssm.put_parameter(Name="/versioned", Value=value, Type="String", Overwrite=True)
    arn = ssm.get_parameter(Name="/versioned")["Parameter"]["ARN"]
    first, last = "/versioned:1", "/versioned"
    assert ParameterStore(aws)([first, last, arn]) == {first: "old", last: "new", arn: "new"}


def test_a_missing_parameter_has_codebuilds_words(aws: Aws) -> None:
    with pytest.raises(VariableUnresolved) as caught:
        ParameterStore(aws)(["/none"])
    assert (caught.value.code, caught.value.message) == ("Decrypted Variables Error", "parameter does not exist: /none")


def test_a_secret_gives_its_whole_text_or_one_key(aws: Aws) -> None:
    content = json.dumps({"user": "me", "port": 5432, "tags": ["ä"], "none": None})
    arn = aws.client("secretsmanager").create_secret(Name="db", SecretString=content)["ARN"]
    read = SecretsManager(aws)
    wanted = ["db", "db:user", "db:port", "db:tags", "db:none", f"{arn}:user::", arn]
    assert read(wanted) == dict(zip(wanted, [content, "me", "5432", '["ä"]', "null", "me", content], strict=True))


def test_a_secret_is_read_at_a_stage_or_a_version(aws: Aws) -> None:
    client = aws.client("secretsmanager")
    first = client.create_secret(Name="rotated", SecretString='{"k": "old"}')["VersionId"]
    client.put_secret_value(SecretId="rotated", SecretString='{"k": "new"}')
    read = SecretsManager(aws)
    assert read(["rotated:k"]) == {"rotated:k": "new"}
    assert set(read(["rotated:k:AWSPREVIOUS", f"rotated:k::{first}", "rotated:k:AWSPREVIOUS:"]).values()) == {"old"}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("absent", "ResourceNotFoundException"),
        ("bytes", "binary"),
        ("words:key", "not a JSON object"),
        ("list:key", "not a JSON object"),
        ("object:key", "no key 'key'"),
        ("object:a:b:c:d", "too many parts"),
        ("object:a:STAGE:id", "both a version stage and a version id"),
        ("", "incomplete"),
        ("arn:aws:secretsmanager:r:1:secret", "incomplete"),
    ],
)
def test_a_secret_that_gives_no_value_fails_with_codebuilds_code(aws: Aws, reference: str, words: str) -> None:
    client = aws.client("secretsmanager")
    present = {one["Name"] for one in client.list_secrets()["SecretList"]}
    for name, text in {"words": "hello", "list": "[1]", "object": "{}"}.items():
        if name not in present:
            client.create_secret(Name=name, SecretString=text)
    if "bytes" not in present:
        client.create_secret(Name="bytes", SecretBinary=b"\0")
    with pytest.raises(VariableUnresolved) as caught:
        SecretsManager(aws)([reference])
    assert caught.value.code == "Secrets Manager Error"
    assert words in caught.value.message
    assert caught.value.hint


def test_an_aws_that_is_away_is_not_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with pytest.raises(AwsUnavailable):
        ParameterStore(Aws(region="eu-west-1", endpoint_url="http://127.0.0.1:9"))(["/p"])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("name", SecretReference("name")),
        ("name:key", SecretReference("name", "key")),
        ("name::AWSPREVIOUS", SecretReference("name", None, "AWSPREVIOUS")),
        ("name:::1-2-3", SecretReference("name", None, None, "1-2-3")),
        (ARN, SecretReference(ARN)),
        (f"{ARN}:key::", SecretReference(ARN, "key")),
        (f"{ARN}:key:AWSCURRENT", SecretReference(ARN, "key", "AWSCURRENT")),
    ],
)
def test_every_form_of_a_secret_reference_is_understood(text: str, parsed: SecretReference) -> None:
    assert parse_reference(text) == parsed
