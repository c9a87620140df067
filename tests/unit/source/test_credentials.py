"""Credentials of git servers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from agent.aws import Aws, AwsRefused
from agent.errors import SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential, codecommit_credential, remote_of, token_user
from agent.source.url import parse

REPOSITORY = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop"


def test_the_codecommit_signature_is_the_one_that_botocore_computes() -> None:
    now = datetime(2026, 11, 22, 10, 11, 12, tzinfo=UTC)
    login = codecommit_credential(parse(REPOSITORY)[0], lambda: ("AKIDEXAMPLE", "s3cret", "to/ken"), now.timestamp())
    request = AWSRequest(method="GIT", url=REPOSITORY)
    request.context["timestamp"] = "20261122T101112"
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "s3cret", "to/ken"), "codecommit", "eu-west-1")
    canonical = "GIT\n/v1/repos/shop\n\nhost:git-codecommit.eu-west-1.amazonaws.com\n\nhost\n"
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert login.username == "AKIDEXAMPLE%to/ken"
    assert login.password.reveal() == f"20261122T101112Z{signature}"


def test_codecommit_keys_that_were_renewed_keep_their_identity() -> None:
    first = codecommit_credential(parse(REPOSITORY)[0], lambda: ("A", "1", None), 1e9, identity="role")
    second = codecommit_credential(parse(REPOSITORY)[0], lambda: ("B", "2", "t"), 2e9, identity="role")
    assert first.fingerprint == second.fingerprint


def test_a_credential_does_not_go_to_a_submodule_of_another_host() -> None:
    login = GitCredential("me", Secret("hunter2"))
    parent = remote_of(Source(type="GIT", location="https://h/app.git"), login)
    assert parent.related("../lib.git").credential == login
    for other in ("https://evil/lib.git", "http://h/lib.git", "https://h:444/lib.git"):
        assert parent.related(other).credential is None


def test_a_submodule_on_this_machine_needs_a_parent_on_this_machine() -> None:
    with pytest.raises(SourceRefused, match="lies on this machine"):
        remote_of(Source(type="GIT", location="https://h/app.git"), None).related("file:///etc")
    assert remote_of(Source(type="GIT", location="/srv/app.git"), None).related("../lib.git").url.path == "/srv/lib.git"


def test_a_token_gets_the_user_name_that_its_host_expects() -> None:
    assert token_user(Source(type="GITLAB", location="https://gitlab.com/a/b")) == "oauth2"
    assert token_user(Source(type="GIT", location="https://bitbucket.org/a/b")) == "x-token-auth"
    assert token_user(Source(type="GIT", location="https://git.internal/a/b")) == "x-access-token"


def test_a_line_break_in_a_token_cannot_reach_git() -> None:
    with pytest.raises(SourceRefused, match="line break") as caught:
        GitCredential("me", Secret("good\nhost=evil"))
    assert "good" not in str(caught.value)


def test_a_server_that_repeats_our_password_does_not_bring_it_into_a_message() -> None:
    remote = remote_of(Source(type="GIT", location="https://h/a.git"), GitCredential("me", Secret("p/ss")))
    told = remote.without_secrets("remote: Basic bWU6cC9zcw== p/ss https://me:p%2Fss@h denied")
    assert told == "remote: Basic *** *** https://me:***@h denied"
    bare = remote_of(Source(type="GIT", location="https://h/a.git"), None)
    assert bare.without_secrets("as it is") == "as it is"


def test_the_keys_of_this_host_are_those_that_hold_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert Aws(region="eu-west-1").frozen_keys() == ("AKID", "secret", None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AwsRefused, match="no AWS credentials") as caught:
        Aws(region="eu-west-1").frozen_keys()
    assert "instance role" in caught.value.hint
