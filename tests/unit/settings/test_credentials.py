"""`credentials` in agent.yml: what it takes, and every mistake with its place and without the secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.app.keyring import account_of
from agent.errors import SettingsInvalid
from agent.settings.load import LoadedSettings, load_settings

GOOD = """
git: {ca_file: ca.pem}
credentials:
  - {host: github.com, path: acme/, token: "env:TOKEN"}
  - {host: "bitbucket.org", username: joe, password: "ssm:/ci/app-password"}
  - {host: ghe.example.com, app: {id: 7, installation: null, private_key: "file:/etc/app.pem"}}
  - {host: github.com, app: {id: 8, private_key: "file:/etc/app.pem", api: "https://proxy.example.com/github/"}}
  - {host: "git.example.com:2222", ssh_key: "secretsmanager:ci/key", known_hosts: known_hosts}
"""


def loaded(tmp_path: Path, text: str, **environ: str) -> LoadedSettings:
    file = tmp_path / "agent.yml"
    file.write_text(text)
    return load_settings(file, environ)


def test_every_form_is_taken_and_paths_start_at_the_file(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD)
    assert found.warnings == ()
    assert found.settings.git.ca_file == tmp_path / "ca.pem"
    accounts = [account_of(entry, index) for index, entry in enumerate(found.settings.credentials)]
    assert [account.kind for account in accounts] == [
        "the token of credentials[0] in agent.yml",
        "the password of credentials[1] in agent.yml",
        "the GitHub App of credentials[2] in agent.yml",
        "the GitHub App of credentials[3] in agent.yml",
        "the SSH key of credentials[4] in agent.yml",
    ]
    apis = [account.app.api for account in accounts if account.app]
    assert apis == ["https://ghe.example.com/api/v3", "https://proxy.example.com/github"]
    assert accounts[4].known_hosts == tmp_path / "known_hosts"
    assert loaded(tmp_path, "credentials:\n").settings.credentials == ()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{host: github.com}", "expected one of token, password, app, ssh_key, not none"),
        ("{host: h, token: 'env:A', ssh_key: 'env:B'}", "not token and ssh_key"),
        ("{host: h, password: 'env:A'}", "password needs a username"),
        ("{host: h, username: u, ssh_key: 'env:A'}", "username goes with password or token"),
        ("{host: h, token: 'env:A', known_hosts: f}", "known_hosts goes with ssh_key"),
        ("{host: 'https://github.com', token: 'env:A'}", "without https://"),
        ("{host: h, path: ../x, token: 'env:A'}", "owner/repository"),
        ("{host: h, token: 'env:1'}", "expected env:NAME"),
        ("{host: h, token: ''}", "expected a secret"),
        ("{host: h, tokn: hunter2}", "unknown key credentials[0].tokn; did you mean 'token'?"),
        ("{host: h, app: {id: 0, private_key: 'env:A'}}", "at least 1"),
        ("{host: h, app: {id: 1, private_key: 'env:A', api: h}}", "expected an address"),
        ("{token: 'env:A'}", "credentials[0].host is missing"),
    ],
)
def test_a_mistake_is_said_with_its_line_and_without_the_secret(tmp_path: Path, entry: str, words: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        loaded(tmp_path, f"credentials:\n  - {entry}\n")
    (problem,) = caught.value.problems
    assert words in problem.message
    assert problem.line == 2
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_stands_there_itself_is_a_warning(tmp_path: Path) -> None:
    found = loaded(
        tmp_path, "credentials:\n  - {host: h, token: hunter2}\n  - {host: h, app: {id: 1, private_key: hunter2}}\n"
    )
    assert [(problem.line, problem.fatal) for problem in found.warnings] == [(2, False), (3, False)]
    assert "the secret itself stands here" in found.warnings[0].message
    assert "hunter2" not in " ".join(map(str, found.warnings))


def test_the_environment_may_hold_the_list(tmp_path: Path) -> None:
    found = loaded(tmp_path, "", BUILDSPECD_CREDENTIALS="[{host: github.com, token: hunter2}]")
    assert [entry.host for entry in found.settings.credentials] == ["github.com"]
    assert [problem.file for problem in found.warnings] == ["BUILDSPECD_CREDENTIALS"]
    with pytest.raises(SettingsInvalid, match="expected a list such as"):
        loaded(tmp_path, "", BUILDSPECD_CREDENTIALS="[{host")
