"""What a build's own git is told about the servers of its sources."""

from __future__ import annotations

from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential, Remote, remote_of
from agent.source.logins import helper_configuration, login_blocks, secrets_of

CODECOMMIT = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos"


def remote(location: str, password: str | None = "hunter2", username: str = "me") -> Remote:
    login = GitCredential(username, Secret(password)) if password else None
    return remote_of(Source(type="GIT", location=location), login)


def told(*remotes: Remote) -> tuple[str, list[dict[str, str]]]:
    blocks = [block for block in login_blocks(remotes).split("\n\n") if block]
    return (
        helper_configuration(remotes, "/h"),
        [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks],
    )


def test_one_login_of_an_origin_is_good_for_all_of_its_repositories_and_for_no_other_origin() -> None:
    configuration, blocks = told(remote("https://h.example/a/b.git"), remote("https://h.example/a/c.git"))
    assert configuration == '[credential "https://h.example"]\n\thelper = /h\n'
    login = {"username": "me", "password": "hunter2"}
    assert blocks == [{"protocol": "https", "host": host, **login} for host in ("h.example", "h.example:443")]


def test_a_port_belongs_to_the_origin() -> None:
    configuration, blocks = told(remote("http://127.0.0.1:8080/a.git"))
    assert '"http://127.0.0.1:8080"' in configuration
    assert [block["host"] for block in blocks] == ["127.0.0.1:8080"]


def test_several_logins_of_one_origin_are_told_apart_by_path_and_the_first_serves_the_rest() -> None:
    configuration, blocks = told(remote("https://h/a.git", "one"), remote("https://h/b.git", "two"))
    assert configuration.count("useHttpPath = true") == configuration.count("[credential") == 1
    answers = [(block.get("path"), block["password"]) for block in blocks if block["host"] == "h"]
    assert answers == [("a.git", "one"), (None, "one"), ("b.git", "two")]


def test_a_signature_for_codecommit_is_good_for_its_repository_only() -> None:
    configuration, blocks = told(remote(f"{CODECOMMIT}/shop", "20260101T000000Zabc", "AKID%t=o"))
    assert "useHttpPath = true" in configuration
    assert {block["path"] for block in blocks} == {"v1/repos/shop"}
    assert blocks[0]["username"] == "AKID%t=o"


def test_what_is_not_entered_by_http_with_a_login_is_left_out() -> None:
    others = (remote("https://h/a.git", None), remote("ssh://git@h/a.git"), remote("file:///srv/a.git"))
    assert told(*others) == ("", [])


def test_the_log_hides_the_password_and_what_http_sends_with_it() -> None:
    assert set(secrets_of([remote("https://h/a.git"), remote("https://h/b.git", None)])) == {"hunter2", "me:hunter2"}
