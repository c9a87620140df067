"""`buildspecd webhook-test`: what a payload would start, and which filter decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from tests.fakes import hooks

GROUPS = [[{"type": "EVENT", "pattern": "PUSH"}, {"type": "HEAD_REF", "pattern": "^refs/heads/main$"}]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    projects = tmp_path / "projects.d"
    projects.mkdir()
    for name, groups, kind, url in (
        ("shop", GROUPS, "GITHUB", hooks.GITHUB_URL),
        ("pulls", [[{"type": "EVENT", "pattern": "PULL_REQUEST_CREATED"}]], "GITHUB", hooks.GITHUB_URL),
        ("lab", [], "GITLAB", hooks.GITLAB_URL),
        ("bucket", [], "BITBUCKET", hooks.BITBUCKET_URL),
    ):
        document = {
            "name": name,
            "source": {"type": kind, "location": url},
            "environment": {"image": "busybox"},
            "webhook": {"secret": "env:NOT_SET", "filterGroups": groups},
        }
        (projects / f"{name}.json").write_text(json.dumps(document))
    file = tmp_path / "agent.yml"
    file.write_text(json.dumps({"state_dir": str(tmp_path / "state")}))
    return file


def ask(config: Path, payload: Any, *words: str) -> int:
    file = config.parent / "payload.json"
    file.write_bytes(hooks.body_of(payload))
    return main(["webhook-test", str(file), "--config", str(config), *words])


def test_it_says_for_each_project_what_decides(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(config, hooks.github_push()) == 0
    said = capsys.readouterr().out
    assert "pulls: nothing: PUSH branch/main\n  group 1: EVENT PULL_REQUEST_CREATED is not true of ['PUSH']" in said
    assert "shop: build: PUSH branch/main\n  group 1: all true: EVENT PUSH, HEAD_REF ^refs/heads/main$" in said
    assert f"source version {hooks.AFTER}" in said
    assert not (config.parent / "state").exists(), "nothing is stored"


@pytest.mark.parametrize(
    ("payload", "words", "found"),
    [
        (hooks.github_pull(), (), {"pulls": "build", "shop": "nothing"}),
        (hooks.github_pull(fork=True), (), {"pulls": "later", "shop": "nothing"}),
        (hooks.github_push(), ("--project", "shop"), {"shop": "build"}),
        (
            hooks.github_push(),
            ("--event", "push", "--host", "github_enterprise"),
            {"shop": "build", "pulls": "nothing"},
        ),
        (hooks.gitlab_push(), (), {"lab": "build"}),
        (hooks.gitlab_push(), ("--header", "X-Gitlab-Event: Push Hook"), {"lab": "build"}),
        (hooks.bitbucket_push(), (), {"bucket": "build"}),
        (hooks.bitbucket_pull(), ("--event", "pullrequest:created"), {"bucket": "nothing"}),
        (hooks.github_push(url="https://github.com/octo/other.git") | {"x": 1}, ("-p", "lab"), {"lab": "nothing"}),
    ],
)
def test_payloads_of_every_host_are_known_by_their_looks(
    config: Path, capsys: pytest.CaptureFixture[str], payload: Any, words: tuple[str, ...], found: dict[str, str]
) -> None:
    assert ask(config, payload, "--json", *words) == 0
    document = json.loads(capsys.readouterr().out)
    assert {one["project"]: one["outcome"] for one in document["findings"]} == found


def test_what_starts_nothing_says_why(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(config, hooks.github_push(after=hooks.ZEROS)) == 0
    assert "nothing: refs/heads/main was deleted" in capsys.readouterr().out
    other = hooks.github_push()
    other["repository"] |= {
        "clone_url": "https://github.com/a/b",
        "html_url": None,
        "ssh_url": None,
        "full_name": "a/b",
    }
    assert ask(config, other) == 0
    assert "nothing: no project has a/b as its source" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("payload", "words", "message"),
    [
        ({"a": 1}, (), "does not tell which event"),
        (hooks.github_push() | {"ref": 1}, (), "the payload's ref must be a string"),
        (hooks.github_push(), ("--header", "nonsense"), "write NAME:VALUE"),
        (hooks.github_push(), ("--host", "svn"), "is none of"),
        (hooks.github_push(), ("--project", "nobody"), "there is no project"),
    ],
)
def test_what_makes_no_sense_is_told(
    config: Path, capsys: pytest.CaptureFixture[str], payload: Any, words: tuple[str, ...], message: str
) -> None:
    assert ask(config, payload, *words) == 2
    assert message in capsys.readouterr().err
