"""A webhook becomes a build: verified, judged by its filters, built once whoever else saw the push."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import hooks
from tests.fakes.hooks import body_of
from tests.fakes.repository import Repository
from tests.journey.daemon import Daemon, buildspec
from tests.journey.waiting import until

pytestmark = pytest.mark.docker
SECRET = "correct-horse-battery"


def deliver(daemon: Daemon, event: str, payload: Any, secret: str = SECRET) -> tuple[int, Any]:
    """Deliver as GitHub does, through a proxy that passes the host's name on."""
    listening = [json.loads(line) for line in daemon.said().splitlines() if '"listening"' in line]
    port = [entry["port"] for entry in listening if entry.get("port")][-1]  # that of a daemon started anew comes last
    body = body_of(payload)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = hooks.github_headers(event, body, secret) | {"Host": "ci.example.com"}
    connection.request("POST", "/hooks/github", body, headers)
    with connection.getresponse() as answer:
        return answer.status, json.loads(answer.read())


def test_a_webhook_starts_what_its_filters_let_through_and_what_polling_saw_too_is_built_once(
    daemon: Daemon, repository: Repository, busybox: str, tmp_path: Path
) -> None:
    secret = tmp_path / "hook-secret"
    secret.write_text(SECRET)
    spec = buildspec("env | grep ^CODEBUILD_WEBHOOK_ | sort", "echo version $CODEBUILD_SOURCE_VERSION")
    first = repository.commit("first", **{"buildspec.yml": spec})
    events = {"type": "EVENT", "pattern": "PUSH, PULL_REQUEST_CREATED"}
    groups = [[events, {"type": "FILE_PATH", "pattern": "^src/"}]]
    source = {"type": "GITHUB", "location": repository.url}
    webhook = {"secret": f"file:{secret}", "filterGroups": groups}
    told = daemon.project(busybox, source=source, webhook=webhook, agent={"poll": 0})
    both = daemon.project(busybox, source=source, webhook={"secret": f"file:{secret}"}, agent={"poll": 1})
    daemon.nth(both, 1)

    second = repository.commit("second", src__a="1")
    payload = hooks.github_push(before=first, after=second, url=repository.url)
    assert deliver(daemon, "push", payload, "wrong")[0] == 401
    status, answer = deliver(daemon, "push", payload)
    assert status == 202, answer
    build = daemon.ended(daemon.nth(told, 1))
    text = daemon.text(build)
    assert (build["buildStatus"], build["resolvedSourceVersion"]) == ("SUCCEEDED", second), text
    assert build["initiator"] == "GitHub-Hookshot/044aadd"
    wanted = [
        "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=7001",
        "CODEBUILD_WEBHOOK_EVENT=PUSH",
        "CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/main",
        f"CODEBUILD_WEBHOOK_PREV_COMMIT={first}",
        "CODEBUILD_WEBHOOK_TRIGGER=branch/main",
        f"version {second}",
    ]
    lines = text.splitlines()
    assert [line for line in lines if line in wanted] == wanted
    daemon.ended(daemon.nth(both, 2))

    repository.run("checkout", "-q", "-b", "feature/x")
    head = repository.commit("third", src__b="2")
    repository.push("HEAD:refs/pull/7/head", ":refs/heads/feature/x")
    pull = hooks.github_pull(head=head, url=repository.url)
    pull["pull_request"]["base"]["sha"] = second
    status, answer = deliver(daemon, "pull_request", pull)
    outcomes = {one["project"]: one["outcome"] for one in answer["projects"]}
    assert (status, outcomes) == (202, {told: "later", both: "nothing"})
    asked = daemon.ended(daemon.nth(told, 2))
    assert (asked["sourceVersion"], asked["resolvedSourceVersion"]) == ("pr/7", head)
    assert "CODEBUILD_WEBHOOK_TRIGGER=pr/7" in daemon.text(asked)
    fork = hooks.github_pull(head=head, url=repository.url, fork=True)
    fork["pull_request"]["base"]["sha"] = second
    assert deliver(daemon, "pull_request", fork)[0] == 202
    until(lambda: "waits for somebody who may approve it" in daemon.said(), "the word that a fork is not built")
    assert [one["buildNumber"] for one in daemon.builds(told)] == [1, 2]
    assert [one["buildNumber"] for one in daemon.builds(both)] == [1, 2]
