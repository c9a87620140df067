"""Which image is pulled, when, and with whose credentials."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from agent.aws import Aws
from agent.container.image import (
    EcrRegistry,
    PullPolicy,
    RegistryLogins,
    credential_login,
    ecr_registry,
    ensure_image,
    must_pull,
    pull_reference,
    registry_host,
)
from agent.container.spec import RegistryLogin
from agent.errors import ImageUnavailable
from agent.kit.service import StopToken
from agent.model.project import RegistryCredential
from tests.fakes.engine import FakeEngine

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1"


class MovingClock:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float, stop: StopToken) -> bool:
        self.at += seconds
        return stop.is_set


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def endpoint(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    return server


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("debian:12", "debian:12"),
        ("aws/codebuild/standard:7.0", "public.ecr.aws/codebuild/standard:7.0"),
        ("aws/codebuild/amazonlinux-x86_64-standard:5.0", "mirror.internal/al2:5"),
        ("other/aws/codebuild/x", "other/aws/codebuild/x"),
    ],
)
def test_curated_names_are_rewritten(image: str, reference: str) -> None:
    rewrites = {
        "aws/codebuild/": "public.ecr.aws/codebuild/",
        "aws/codebuild/amazonlinux-x86_64-standard:5.0": "mirror.internal/al2:5",
    }
    assert pull_reference(image, rewrites) == reference


def test_of_two_prefixes_the_longer_wins() -> None:
    assert pull_reference("aws/codebuild/x", {"aws/": "a/", "aws/codebuild/": "b/"}) == "b/x"


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("debian:12", None),
        ("library/debian", None),
        ("localhost/x", "localhost"),
        ("r:5000/x", "r:5000"),
        ("a.b/x", "a.b"),
    ],
)
def test_a_registry_is_told_from_a_folder_of_the_hub(reference: str, host: str | None) -> None:
    assert registry_host(reference) == host


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        (ECR, EcrRegistry("123456789012", "eu-west-1")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/x", EcrRegistry("123456789012", "cn-north-1")),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/x", EcrRegistry("123456789012", "us-east-1")),
        ("public.ecr.aws/codebuild/standard:7.0", None),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example/x", None),
        ("12345.dkr.ecr.us-east-1.amazonaws.com/x", None),
    ],
)
def test_a_private_ecr_registry_is_recognised(reference: str, registry: EcrRegistry | None) -> None:
    assert ecr_registry(reference) == registry


@pytest.mark.parametrize(
    ("policy", "present", "pulls"),
    [
        ("always", True, True),
        ("always", False, True),
        ("if-not-present", True, False),
        ("if-not-present", False, True),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_the_policy_decides_when_to_pull(policy: PullPolicy, present: bool, pulls: bool) -> None:
    assert must_pull(policy, present=present) is pulls


def ensured(engine: FakeEngine, image: str, policy: PullPolicy) -> str:
    return ensure_image(engine, image, policy=policy, login=lambda _: None, progress=lambda line: None)


def test_an_image_that_is_missing_is_pulled_under_its_public_name() -> None:
    engine = FakeEngine(registry=("public.ecr.aws/codebuild/standard:7.0",))
    assert ensured(engine, "aws/codebuild/standard:7.0", "if-not-present") == "public.ecr.aws/codebuild/standard:7.0"
    assert ensured(engine, "aws/codebuild/standard:7.0", "if-not-present") == "public.ecr.aws/codebuild/standard:7.0"
    assert len(engine.pulls) == 1


@pytest.mark.parametrize("policy", ["always", "if-not-present", "never"])
def test_a_curated_image_that_somebody_put_there_is_used_as_it_is(policy: PullPolicy) -> None:
    engine = FakeEngine(images=("aws/codebuild/standard:7.0",))
    assert ensured(engine, "aws/codebuild/standard:7.0", policy) == "aws/codebuild/standard:7.0"
    assert engine.pulls == []


def test_never_pulling_a_missing_image_says_what_to_do() -> None:
    with pytest.raises(ImageUnavailable) as raised:
        ensured(FakeEngine(), "debian:12", "never")
    assert "docker pull debian:12" in raised.value.hint


def test_the_login_is_asked_for_the_name_that_is_pulled() -> None:
    engine, login = FakeEngine(registry=(ECR,)), RegistryLogin("AWS", "pw")
    ensure_image(
        engine, ECR, policy="always", login=lambda reference: login if reference == ECR else None, progress=print
    )
    assert engine.pulls == [(ECR, login)]


def test_ecr_gives_a_login_which_is_kept_for_hours(endpoint: str) -> None:
    clock, regions = MovingClock(), list[str]()

    def aws_in(region: str) -> Aws:
        regions.append(region)
        return Aws(region=region, endpoint_url=endpoint)

    logins = RegistryLogins(aws_in, clock)
    first = logins.login_for(ECR)
    assert first is not None
    assert (first.username, bool(first.password)) == ("AWS", True)
    assert first.password not in repr(first)
    clock.at += 5 * 3600
    assert logins.login_for(ECR) is first
    assert regions == ["eu-west-1"]
    clock.at += 2 * 3600
    logins.login_for(ECR)
    assert regions == ["eu-west-1"] * 2
    assert logins.login_for("debian:12") is None


def test_without_aws_credentials_docker_uses_its_own_login(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    logins = RegistryLogins(lambda region: Aws(region=region, endpoint_url=endpoint), MovingClock())
    assert logins.login_for(ECR) is None


def test_a_registry_credential_is_read_from_its_secret(endpoint: str) -> None:
    client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=endpoint)
    client.create_secret(Name="hub", SecretString=json.dumps({"username": "me", "password": "hush"}))
    login = credential_login(Aws(region="us-east-1", endpoint_url=endpoint), RegistryCredential(credential="hub"))
    assert login == RegistryLogin("me", "hush")


@pytest.mark.parametrize("text", ["hush", "[]", '{"username": "me"}', '{"username": 1, "password": "hush"}'])
def test_a_credential_of_another_shape_is_refused_without_showing_it(endpoint: str, text: str) -> None:
    client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=endpoint)
    name = "odd" + base64.b16encode(text.encode()).decode()
    client.create_secret(Name=name, SecretString=text)
    with pytest.raises(ImageUnavailable) as raised:
        credential_login(Aws(region="us-east-1", endpoint_url=endpoint), RegistryCredential(credential=name))
    assert "hush" not in raised.value.message + raised.value.hint


def test_a_credential_that_does_not_exist_is_named(endpoint: str) -> None:
    with pytest.raises(ImageUnavailable, match="no-such-secret"):
        credential_login(
            Aws(region="us-east-1", endpoint_url=endpoint), RegistryCredential(credential="no-such-secret")
        )
