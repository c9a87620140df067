"""Which credential opens which source: entries of agent.yml, secrets of `source.auth`, the role of this host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SourceRefused, UserError
from agent.kit.clock import SystemClock
from agent.model.project import GitSubmodules, Source, SourceAuth
from agent.model.secret import Secret
from agent.source.accounts import Account, Accounts
from agent.source.credentials import GitCredential, SshLogin
from agent.source.githubapp import App, GitHubApps
from agent.source.hostapi import HostApi
from agent.source.sources import Sources
from agent.source.sshkeys import SshKeys
from tests.fakes.git_http import git_http
from tests.fakes.github import github, private_key
from tests.fakes.repository import Repository

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci/git-AbCdEf"
TOKEN = "ghp_0123456789secret"


class Vault:
    """Secrets by reference; what was asked for and what was dropped."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.renewed: dict[str, str] = {}
        self.asked: list[str] = []

    def __call__(self, text: str) -> Secret:
        self.asked.append(text)
        return Secret(self.values.get(text.replace(":", "_"), text))

    def forget(self, text: str) -> None:
        self.values |= {name: value for name, value in self.renewed.items() if name == text.replace(":", "_")}


def accounts(*entries: Account, vault: Vault | None = None, place: Path = Path("/nowhere"), **other: Any) -> Accounts:
    clock = SystemClock()
    return Accounts(
        entries,
        vault or Vault(),
        apps=GitHubApps(HostApi(clock=clock), clock),
        keys=SshKeys(place),
        aws_keys=lambda: ("AKID", "secret", "session"),
        clock=clock,
        **other,
    )


def git(location: str, **other: Any) -> Source:
    return Source(**{"type": "GIT", "location": location, **other})


def login(found: object) -> tuple[str, str]:
    assert isinstance(found, GitCredential)
    return found.username, found.password.reveal()


def test_the_entry_with_the_longest_path_that_fits_wins() -> None:
    ring = accounts(
        Account("github.com", token="all"),
        Account("github.com", path="acme/", token="acme"),
        Account("github.com", path="acme/shop.git", token="shop"),
        Account("github.com:8443", token="port"),
        Account("gitlab.com", username="me", token="lab"),
    )
    expected = {
        "https://github.com/acme/shop": "shop",
        "https://github.com/Acme/Shop.git": "shop",
        "https://github.com:443/acme/shop/": "shop",
        "https://github.com/acme/shopping": "acme",
        "https://github.com/acme2/shop": "all",
        "https://github.com:8443/acme/shop": "port",
    }
    assert {location: login(ring(git(location)))[1] for location in expected} == expected
    assert login(ring(git("https://gitlab.com/a/b"))) == ("me", "lab")
    assert login(ring(git("https://github.com/x/y"))) == ("x-access-token", "all")
    for other in ("https://github.com.evil.org/acme/shop", "https://evil.org/github.com/a", "git://github.com/a/b"):
        assert ring(git(other)) is None
    assert ring(git("ssh://git@github.com/acme/shop")) is None, "a token is nothing for SSH"


def test_a_credential_goes_over_plain_http_only_where_that_is_allowed() -> None:
    with pytest.raises(SourceRefused, match="not sent over http") as caught:
        accounts(Account("h", token=TOKEN))(git("http://h/a.git"))
    assert "allow_http" in caught.value.hint
    assert accounts(Account("h", token=TOKEN, allow_http=True))(git("http://h/a.git"))
    auth = SourceAuth(type="SECRETS_MANAGER", resource=ARN)
    with pytest.raises(SourceRefused, match="not sent over http"):
        accounts()(git("http://h/a.git", auth=auth))


@pytest.mark.parametrize(
    ("type_", "secret", "expected"),
    [
        (
            "GITHUB",
            {"ServerType": "GITHUB", "AuthType": "PERSONAL_ACCESS_TOKEN", "Token": "t"},
            ("x-access-token", "t"),
        ),
        ("GITLAB", {"ServerType": "GITLAB", "AuthType": "PERSONAL_ACCESS_TOKEN", "Token": "t"}, ("oauth2", "t")),
        (
            "BITBUCKET",
            {"ServerType": "BITBUCKET", "AuthType": "BASIC_AUTH", "Token": "t", "Username": "joe"},
            ("joe", "t"),
        ),
        (
            "GIT",
            {"ServerType": "GITLAB_SELF_MANAGED", "AuthType": "PERSONAL_ACCESS_TOKEN", "Token": "t"},
            ("oauth2", "t"),
        ),
    ],
)
def test_a_secret_of_codebuild_s_shape_opens_the_source_that_names_it(
    type_: str, secret: dict[str, str], expected: tuple[str, str]
) -> None:
    vault = Vault(**{f"secretsmanager:{ARN}".replace(":", "_"): json.dumps(secret)})
    host = {"GITHUB": "github.com", "GITLAB": "gitlab.com", "BITBUCKET": "bitbucket.org"}.get(type_, "git.internal")
    source = Source(
        type=type_,  # type: ignore[arg-type]
        location=f"https://{host}/a/b",
        auth=SourceAuth(type="SECRETS_MANAGER", resource=ARN),
    )
    ring = accounts(Account(host, token="entry"), vault=vault)
    found = ring(source)
    assert login(found) == expected, "the source's own auth comes before the entry of its host"
    assert isinstance(found, GitCredential)
    assert found.fingerprint == ring.identity(source) == f"secret:{ARN}"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("ghp_plain", "not a credential of CodeBuild's"),
        ("[]", "not a credential of CodeBuild's"),
        ('{"Token": ""}', "not a credential of CodeBuild's"),
        ('{"ServerType": "BITBUCKET", "Token": "ghp_plain"}', "is for BITBUCKET, the source is of type GITHUB"),
        ('{"ServerType": "GITHUB", "AuthType": "BASIC_AUTH", "Token": "ghp_plain"}', "without Username"),
        ('{"ServerType": "GITHUB", "AuthType": "CODECONNECTIONS", "Token": "ghp_plain"}', "for AWS alone"),
    ],
)
def test_a_secret_that_is_no_credential_is_said_without_showing_it(secret: str, words: str) -> None:
    vault = Vault(**{f"secretsmanager:{ARN}".replace(":", "_"): secret})
    source = git("https://github.com/a/b", auth=SourceAuth(type="SECRETS_MANAGER", resource=ARN)).evolve(type="GITHUB")
    with pytest.raises(SourceRefused, match=words) as caught:
        accounts(vault=vault)(source)
    assert caught.value.hint
    assert "ghp_plain" not in str(caught.value) + caught.value.hint


def test_what_only_aws_can_use_leaves_the_source_to_an_entry_and_says_so_where_it_is_refused() -> None:
    source = git("https://github.com/a/b", auth=SourceAuth(type="CODECONNECTIONS", resource="arn:aws:x"))
    assert login(accounts(Account("github.com", token="t"))(source))[1] == "t"
    assert accounts()(source) is None
    advice = accounts().advice(source)
    assert "CODECONNECTIONS" in advice
    assert "`credentials` in agent.yml" in advice


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop", True),
        ("codecommit::eu-west-1://shop", True),
        ("codecommit::cn-north-1://profile@shop", True),
        ("https://vpce-0ab1-cd2.git-codecommit.eu-west-1.vpce.amazonaws.com/v1/repos/shop", True),
        ("https://git-codecommit-fips.us-east-1.amazonaws.com/v1/repos/shop", True),
        ("https://git-codecommit.eu-west-1.evil.com/v1/repos/shop", False),
        ("http://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop", False),
    ],
)
def test_codecommit_opens_with_the_role_of_this_host_and_a_signature_for_each_repository(
    location: str, host: bool
) -> None:
    ring = accounts()
    source = git(location)
    found = ring(source)
    assert (found is not None) == host
    if found is not None:
        assert login(found)[0] == "AKID%session"
        assert ring.identity(source) == found.fingerprint
        remote = Sources(Path("/nowhere"), keyring=ring).remote(source)
        assert remote is not None
        sibling = remote.related("../library")
        assert sibling.credential is not None
        assert sibling.credential.password != remote.credential.password  # type: ignore[union-attr]


def test_codecommit_over_ssh_takes_a_key(tmp_path: Path) -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n"
    host = "git-codecommit.eu-west-1.amazonaws.com"
    entry = Account(host, ssh_key="ssm:/key", known_hosts=Path("/etc/known"))
    ring = accounts(entry, vault=Vault(**{"ssm_/key": pem}), place=tmp_path / "keys")
    found = ring(git(f"ssh://APKAEXAMPLE@{host}/v1/repos/shop"))
    assert isinstance(found, SshLogin)
    assert (found.known_hosts, found.key_file.read_text()) == (Path("/etc/known"), pem)
    assert ring(git(f"git@{host}:v1/repos/shop")) == found
    assert login(ring(git(f"https://{host}/v1/repos/shop")))[0] == "AKID%session"


def test_a_renewed_token_keeps_the_mirror_and_another_entry_has_its_own(tmp_path: Path) -> None:
    vault = Vault(env_A="first")
    source = git("https://h/a.git")
    ring = accounts(Account("h", token="env:A"), vault=vault)
    before = Sources(tmp_path, keyring=ring).mounts([source])
    assert vault.asked == [], "a mirror has its name without asking for the secret"
    vault.values["env_A"] = "second"
    assert Sources(tmp_path, keyring=ring).mounts([source]) == before
    found = ring(source)
    assert isinstance(found, GitCredential)
    assert found.fingerprint == ring.identity(source)
    for other in (Account("h", token="env:B"), Account("h", username="x", token="env:A")):
        assert Sources(tmp_path, keyring=accounts(other)).mounts([source]) != before
    assert Sources(tmp_path, keyring=accounts()).mounts([source]) != before


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def test_a_token_that_was_replaced_costs_no_build_and_one_that_stays_wrong_is_asked_for_twice(
    repository: Repository, tmp_path: Path
) -> None:
    vault = Vault(ssm_token="old\n")
    vault.renewed = {"ssm_token": "new\n"}
    with git_http(repository.bare.parent, ("x-access-token", "new")) as server:
        host = server.url.removeprefix("http://")
        entry = Account(host, token="ssm:token", allow_http=True, place="credentials[0] in agent.yml")
        sources = Sources(tmp_path / "mirrors", keyring=accounts(entry, vault=vault))
        source = git(f"{server.url}/app.git")
        assert sources.fetch(source, None, tmp_path / "ws", quiet).sha == repository.head
        vault.values["ssm_token"] = "old"
        assert sources.heads(source).head == repository.head
        vault.values["ssm_token"], vault.renewed, before = "old", {}, len(server.requests)
        with pytest.raises(SourceRefused) as caught:
            sources.heads(source)
        assert len(server.requests) == before + 1, "the same login is not tried twice"
        assert "the token of credentials[0] in agent.yml" in caught.value.hint
        server.status = 404  # as hosts say it to those who may not know that it exists
        with pytest.raises(UserError) as missing:
            sources.heads(source)
        assert "where the credential sees nothing" in missing.value.hint
        assert "the token of credentials[0]" in missing.value.hint


def test_an_app_opens_each_repository_with_a_token_of_its_own_submodules_too_and_nothing_is_left_of_it(
    tmp_path: Path,
) -> None:
    root = tmp_path / "git" / "acme"
    library, shop = Repository(root, "lib"), Repository(root, "shop")
    library.commit(file="lib")
    pem, public = private_key()
    lines: list[str] = []
    with github(1234, public) as api, git_http(root.parent) as server, git_http(root.parent) as other:
        outside = Repository(tmp_path / "git" / "x", "out")
        outside.commit(file="out")
        shop.run("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.url, "lib")
        shop.run("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", outside.url, "out")
        shop.run("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
        shop.run("config", "-f", ".gitmodules", "submodule.out.url", f"{other.url}/x/out.git")
        shop.commit(file="shop")
        api.installations = {"acme/shop": 7, "acme/lib": 7}
        entry = Account(
            server.url.removeprefix("http://"),
            app=App(1234, "ssm:pem", None, api.url),
            allow_http=True,
        )
        ring = accounts(entry, vault=Vault(ssm_pem=pem))
        source = git(
            f"{server.url}/acme/shop.git", git_submodules_config=GitSubmodules(fetch_submodules=True), auth=None
        )
        sources = Sources(tmp_path / "mirrors", keyring=ring)
        sources.fetch(source, None, tmp_path / "ws", lines.append)
        assert (tmp_path / "ws" / "lib" / "file").read_text() == "lib"
        assert [body["repositories"] for _, _, body in api.asked if body] == [["shop"], ["lib"]]
        assert all(header is None for _, header in other.requests), "another host gets no credential"
    secrets = [pem.splitlines()[1].encode(), *(token.encode() for token in api.tokens)]
    for path in (*(tmp_path / "ws").rglob("*"), *(tmp_path / "mirrors").rglob("*")):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), path
    assert not any(token in line for token in api.tokens for line in lines)


def test_a_location_that_is_no_repository_of_github_s_is_nothing_for_an_app() -> None:
    ring = accounts(Account("h", app=App(1, "ssm:pem")))
    with pytest.raises(SourceRefused, match="not a repository of GitHub's"):
        ring(git("https://h/group/sub/project.git"))


def test_without_any_credential_the_message_says_where_to_put_one() -> None:
    assert "add an entry for its host to `credentials`" in accounts().advice(git("https://h/a"))
    assert "codecommit:GitPull" in accounts().advice(git("codecommit::eu-west-1://shop"))
    assert accounts().advice(git("/srv/a.git")) == ""


@pytest.mark.parametrize("host", ["evil.org", "github.com.evil.org", "notgithub.com"])
def test_the_secret_of_a_hosted_service_goes_to_no_other_host(host: str) -> None:
    auth = SourceAuth(type="SECRETS_MANAGER", resource=ARN)
    vault = Vault()
    with pytest.raises(SourceRefused, match=r"is not at github\.com"):
        accounts(vault=vault)(Source(type="GITHUB", location=f"https://{host}/a/b", auth=auth))
    assert vault.asked == []
    vault.values[f"secretsmanager:{ARN}".replace(":", "_")] = '{"ServerType": "GITHUB", "Token": "t"}'
    with pytest.raises(SourceRefused, match=r"is not at github\.com"):
        accounts(vault=vault)(git(f"https://{host}/a/b", auth=auth))


def test_no_argument_of_any_git_process_holds_the_credential(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, words = tmp_path / "tools", tmp_path / "words"
    tools.mkdir()
    (tools / "git").write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{words}'\nexec {shutil.which('git')} \"$@\"\n")
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with git_http(repository.bare.parent, ("x-access-token", TOKEN)) as server:
        server.speaks_v2 = False  # so that git asks for the heads, too
        entry = Account(server.url.removeprefix("http://"), token=TOKEN, allow_http=True)
        sources = Sources(tmp_path / "mirrors", keyring=accounts(entry))
        source = git(f"{server.url}/app.git")
        assert sources.heads(source).head == repository.head
        sources.fetch(source, None, tmp_path / "ws", quiet)
    said = words.read_text()
    assert "fetch" in said
    assert "ls-remote" in said
    assert TOKEN not in said
