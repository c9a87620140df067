"""Payloads of the git hosts become events (service.md 3.2)."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import RequestInvalid
from agent.triggers.hooks.bitbucket import bitbucket
from agent.triggers.hooks.event import Delivery, Event
from agent.triggers.hooks.github import github
from agent.triggers.hooks.gitlab import gitlab
from tests.fakes import hooks
from tests.fakes.hooks import AFTER, BASE, BEFORE, HEAD, ZEROS, body_of


def from_github(event: str, payload: Any) -> Delivery:
    body = body_of(payload)
    return github(hooks.github_headers(event, body, delivery="d-1"), body)


def from_bitbucket(key: str, payload: Any) -> Delivery:
    body = body_of(payload)
    return bitbucket(hooks.bitbucket_headers(key, body), body)


def from_gitlab(event: str, payload: Any) -> Delivery:
    return gitlab(hooks.gitlab_headers(event), body_of(payload))


def only(delivery: Delivery) -> Event:
    assert delivery.ignored == ""
    assert len(delivery.events) == 1
    return delivery.events[0]


def test_a_push_to_github_tells_refs_commits_paths_and_who() -> None:
    delivery = from_github("push", hooks.github_push())
    event = only(delivery)
    assert delivery.id == "d-1"
    assert (event.event, event.head_ref, event.head_sha, event.previous) == ("PUSH", "refs/heads/main", AFTER, BEFORE)
    assert (event.actor, event.login, event.trigger) == ("7001", "ada", "branch/main")
    assert event.paths == ("docs/a.md", "src/x.py", "old.py")
    assert event.message == "fix: two"
    assert event.initiator == "GitHub-Hookshot/044aadd"
    assert event.repository.full_name == "octo/shop"


def test_the_first_push_of_a_ref_has_nothing_before_it() -> None:
    event = only(from_github("push", hooks.github_push("refs/tags/v1", before=ZEROS, commits=[])))
    assert (event.previous, event.trigger) == (None, "tag/v1")
    assert event.paths == ("src/x.py", "old.py"), "without commits of its own, the head commit tells"


def test_of_an_annotated_tag_the_commit_is_built_and_the_tag_is_remembered() -> None:
    payload = hooks.github_push("refs/tags/v1", before=ZEROS, after="e" * 40)
    payload["head_commit"]["id"] = AFTER
    event = only(from_github("push", payload))
    assert (event.head_sha, event.tip) == (AFTER, "e" * 40)
    event = only(from_gitlab("Tag Push Hook", hooks.gitlab_push("refs/tags/v1", ZEROS, "e" * 40, checkout=AFTER)))
    assert (event.head_sha, event.tip) == (AFTER, "e" * 40)


@pytest.mark.parametrize("missing", ["added", "modified"])
def test_paths_that_are_not_all_told_are_unknown(missing: str) -> None:
    payload = hooks.github_push()
    del payload["commits"][0][missing]
    assert only(from_github("push", payload)).paths is None
    assert only(from_gitlab("Push Hook", hooks.gitlab_push(total=21))).paths is None
    assert only(from_gitlab("Push Hook", hooks.gitlab_push())).paths == ("src/x.py",)


@pytest.mark.parametrize(
    ("action", "merged", "event"),
    [
        ("opened", False, "PULL_REQUEST_CREATED"),
        ("synchronize", False, "PULL_REQUEST_UPDATED"),
        ("reopened", False, "PULL_REQUEST_REOPENED"),
        ("closed", False, "PULL_REQUEST_CLOSED"),
        ("closed", True, "PULL_REQUEST_MERGED"),
    ],
)
def test_pull_requests_of_github(action: str, merged: bool, event: str) -> None:
    found = only(from_github("pull_request", hooks.github_pull(action, merged=merged)))
    assert (found.event, found.number, found.trigger) == (event, 7, "pr/7")
    assert (found.head_ref, found.base_ref) == ("refs/heads/feature/x", "refs/heads/main")
    assert (found.head_sha, found.base_sha, found.is_fork) == (HEAD, BASE, False)
    assert found.repository.organization == "octo"


def test_a_fork_is_told_from_the_repository_itself_also_once_it_is_gone() -> None:
    assert only(from_github("pull_request", hooks.github_pull(fork=True))).is_fork
    gone = hooks.github_pull()
    gone["pull_request"]["head"]["repo"] = None
    assert only(from_github("pull_request", gone)).is_fork
    assert only(from_gitlab("Merge Request Hook", hooks.gitlab_merge(fork=True))).is_fork
    assert only(from_bitbucket("pullrequest:created", hooks.bitbucket_pull(fork=True))).is_fork
    assert not only(from_bitbucket("pullrequest:created", hooks.bitbucket_pull())).is_fork


def test_how_somebody_else_belongs_to_the_repository_says_nothing_of_the_sender() -> None:
    payload = hooks.github_pull("synchronize", association="OWNER")
    assert only(from_github("pull_request", payload)).association == "OWNER"
    payload["sender"] = {"login": "eve", "id": 666}
    assert only(from_github("pull_request", payload)).association is None


def test_releases_jobs_and_comments_of_github() -> None:
    release = only(from_github("release", hooks.github_release()))
    assert (release.event, release.tag_name, release.release_name) == ("RELEASED", "v1.0", "One")
    assert (release.head_ref, release.trigger) == ("refs/tags/v1.0", "tag/v1.0")
    assert only(from_github("release", hooks.github_release("prereleased"))).event == "PRERELEASED"
    job = only(from_github("workflow_job", hooks.github_job()))
    assert (job.event, job.workflow_name, job.head_sha) == ("WORKFLOW_JOB_QUEUED", "Deploy", HEAD)
    comment = only(from_github("issue_comment", hooks.github_comment()))
    assert (comment.event, comment.number, comment.approves, comment.login) == ("COMMENT", 7, HEAD, "boss")


@pytest.mark.parametrize(
    ("event", "payload", "reason"),
    [
        ("ping", {"zen": "x", "hook": {}}, "ping"),
        ("star", {}, "event star starts no build"),
        ("push", hooks.github_push(after=ZEROS), "refs/heads/main was deleted"),
        ("pull_request", hooks.github_pull("labeled"), "labeled"),
        ("release", hooks.github_release("published"), "published"),
        ("workflow_job", hooks.github_job("completed"), "completed"),
        ("issue_comment", hooks.github_comment(text="/codebuild_run(main)"), "no /codebuild_run"),
        ("issue_comment", hooks.github_comment(text=f"please /codebuild_run({HEAD})"), "no /codebuild_run"),
    ],
)
def test_what_starts_nothing_is_ignored_with_its_reason(event: str, payload: Any, reason: str) -> None:
    delivery = from_github(event, payload)
    assert delivery.events == ()
    assert reason in delivery.ignored


def test_a_form_holds_the_same_payload() -> None:
    body = urlencode({"payload": json.dumps(hooks.github_push())}).encode()
    headers = hooks.github_headers("push", body) | {"content-type": "application/x-www-form-urlencoded"}
    assert only(github(headers, body)).head_sha == AFTER


def test_a_push_to_bitbucket_moves_several_refs_at_once() -> None:
    delivery = from_bitbucket(
        "repo:push",
        hooks.bitbucket_push(
            (hooks.bitbucket_ref("main", BEFORE), hooks.bitbucket_ref("main", AFTER)),
            (None, hooks.bitbucket_ref("new", HEAD)),
            (hooks.bitbucket_ref("old", BEFORE), None),
            (None, hooks.bitbucket_ref("v1", AFTER, "tag")),
        ),
    )
    found = [(event.head_ref, event.previous, event.head_sha, event.tip) for event in delivery.events]
    assert found == [
        ("refs/heads/main", BEFORE, AFTER, AFTER),
        ("refs/heads/new", None, HEAD, HEAD),
        ("refs/tags/v1", None, AFTER, None),
    ]
    assert delivery.events[0].actor == "557058:ada"
    assert delivery.events[0].paths is None
    assert delivery.events[0].message == "at main\n"
    gone = from_bitbucket("repo:push", hooks.bitbucket_push((hooks.bitbucket_ref("old", BEFORE), None)))
    assert gone.ignored == "refs/heads/old was deleted"


@pytest.mark.parametrize(
    ("key", "event"),
    [
        ("pullrequest:created", "PULL_REQUEST_CREATED"),
        ("pullrequest:updated", "PULL_REQUEST_UPDATED"),
        ("pullrequest:fulfilled", "PULL_REQUEST_MERGED"),
        ("pullrequest:rejected", "PULL_REQUEST_CLOSED"),
    ],
)
def test_pull_requests_of_bitbucket(key: str, event: str) -> None:
    found = only(from_bitbucket(key, hooks.bitbucket_pull(merge="e" * 12)))
    assert (found.event, found.number, found.head_sha) == (event, 7, HEAD[:12])
    assert found.merge_commit == ("e" * 12 if event == "PULL_REQUEST_MERGED" else None)


@pytest.mark.parametrize(
    ("action", "event"),
    [
        ("open", "PULL_REQUEST_CREATED"),
        ("update", "PULL_REQUEST_UPDATED"),
        ("reopen", "PULL_REQUEST_REOPENED"),
        ("merge", "PULL_REQUEST_MERGED"),
        ("close", "PULL_REQUEST_CLOSED"),
    ],
)
def test_merge_requests_of_gitlab(action: str, event: str) -> None:
    found = only(from_gitlab("Merge Request Hook", hooks.gitlab_merge(action, oldrev=BEFORE)))
    assert (found.event, found.number, found.head_sha, found.actor) == (event, 7, HEAD, "7001")
    assert found.merge_commit == ("e" * 40 if action == "merge" else None)
    assert found.initiator == "GitLab-Hookshot/17.5.1"


def test_other_events_of_gitlab() -> None:
    assert "edited" in from_gitlab("Merge Request Hook", hooks.gitlab_merge("update")).ignored
    assert from_gitlab("Push Hook", hooks.gitlab_push(after=ZEROS)).ignored == "refs/heads/main was deleted"
    assert from_gitlab("Wiki Page Hook", {}).ignored == "event Wiki Page Hook starts no build"
    assert only(from_gitlab("Release Hook", hooks.gitlab_release())).tag_name == "v1.0"
    assert only(from_gitlab("Job Hook", hooks.gitlab_job())).workflow_name == "deploy"
    assert only(from_gitlab("Note Hook", hooks.gitlab_note())).approves == HEAD
    assert only(from_bitbucket("pullrequest:comment_created", hooks.bitbucket_comment())).approves == HEAD


@pytest.mark.parametrize(
    ("change", "member"),
    [
        (lambda p: p.pop("ref"), "payload's ref is missing"),
        (lambda p: p.update(ref="-x"), "payload's ref is not the name of a ref"),
        (lambda p: p.update(ref="refs/heads/a\nb"), "payload's ref is not the name of a ref"),
        (lambda p: p.update(after="main"), "payload's after must be a commit id"),
        (lambda p: p.update(commits={}), "payload's commits must be a list"),
        (lambda p: p["commits"][1].update(added="x"), "commits[1].added must be a list of strings"),
        (lambda p: p["repository"].update(full_name=3), "repository.full_name must be a string"),
        (lambda p: p.update(sender=[]), "payload's sender must be an object"),
        (lambda p: p.update(deleted="no"), "payload's deleted must be true or false"),
    ],
)
def test_a_wrong_shape_is_refused_by_the_name_of_the_member(change: Callable[[Any], Any], member: str) -> None:
    payload = hooks.github_push()
    change(payload)
    with pytest.raises(RequestInvalid, match=member.replace("[", r"\[").replace("]", r"\]")):
        from_github("push", payload)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b'{"ref":'])
def test_a_body_that_is_no_payload_is_refused(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        github(hooks.github_headers("push", body), body)


REAL: list[tuple[Callable[[str, Any], Delivery], str, Any]] = [
    (from_github, "push", hooks.github_push()),
    (from_github, "pull_request", hooks.github_pull("closed", merged=True)),
    (from_github, "release", hooks.github_release()),
    (from_github, "workflow_job", hooks.github_job()),
    (from_github, "issue_comment", hooks.github_comment()),
    (from_bitbucket, "repo:push", hooks.bitbucket_push()),
    (from_bitbucket, "pullrequest:fulfilled", hooks.bitbucket_pull(merge="e" * 12)),
    (from_bitbucket, "pullrequest:comment_created", hooks.bitbucket_comment()),
    (from_gitlab, "Push Hook", hooks.gitlab_push()),
    (from_gitlab, "Merge Request Hook", hooks.gitlab_merge("merge")),
    (from_gitlab, "Release Hook", hooks.gitlab_release()),
    (from_gitlab, "Job Hook", hooks.gitlab_job()),
    (from_gitlab, "Note Hook", hooks.gitlab_note()),
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(REAL), st.data())
def test_a_damaged_payload_is_an_event_or_refused_and_never_a_traceback(
    real: tuple[Callable[[str, Any], Delivery], str, Any], data: st.DataObject
) -> None:
    read, kind, payload = real
    damaged = copy.deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = damaged
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            if data.draw(st.booleans()):
                place[key] = data.draw(ANYTHING)
            else:
                del place[key]
            break
    delivery = None
    with contextlib.suppress(RequestInvalid):
        delivery = read(kind, damaged)
    for event in delivery.events if delivery else ():
        assert Event.model_validate_json(event.model_dump_json()) == event
