"""GitLab, the service and self-managed: headers and body of a delivery -> events (service.md 3.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from agent.triggers.hooks.approval import approved_commit
from agent.triggers.hooks.event import COMMENT, NO_COMMIT, PUSH, Delivery, Event, Repository
from agent.triggers.hooks.payload import Node, header, read

_MERGE_REQUEST = {
    "open": "PULL_REQUEST_CREATED",
    "update": "PULL_REQUEST_UPDATED",
    "reopen": "PULL_REQUEST_REOPENED",
    "merge": "PULL_REQUEST_MERGED",
    "close": "PULL_REQUEST_CLOSED",
}
_AGENT = re.compile(r"GitLab/(?P<version>[\w.+-]{1,40})", re.ASCII)
_ADDRESSES = ("git_http_url", "git_ssh_url", "web_url", "http_url", "ssh_url")


def gitlab(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return what a delivery says; header names are in lower case. Raises `RequestInvalid`, naming the member."""
    kind = header(headers, "x-gitlab-event")
    number = header(headers, "x-gitlab-event-uuid") or header(headers, "idempotency-key")
    found: Event | str
    if kind is None:
        found = "there is no header X-Gitlab-Event"
    elif kind not in _READERS:
        found = f"event {kind[:50]} starts no build"
    else:
        agent = _AGENT.match(header(headers, "user-agent") or "")
        initiator = f"GitLab-Hookshot/{agent['version']}" if agent else "GitLab-Hookshot"
        found = _READERS[kind](read(headers, body), {"host": "gitlab", "initiator": initiator})
    return Delivery(ignored=found, id=number) if isinstance(found, str) else Delivery((found,), id=number)


def _common(payload: Node, given: dict[str, Any]) -> dict[str, Any]:
    project, user = payload.node("project"), payload.maybe("user")
    full_name = project.text("path_with_namespace")
    addresses = (project.maybe_text(name) for name in _ADDRESSES)
    actor = payload.identity("user_id") or (user.identity("id") if user else None)
    return {
        **given,
        "repository": Repository(
            name=full_name.rpartition("/")[2],
            full_name=full_name,
            organization=full_name.rpartition("/")[0] or None,
            addresses=tuple(dict.fromkeys(one for one in addresses if one)),
        ),
        "actor": actor,
        "login": actor,
    }


def _push(payload: Node, given: dict[str, Any]) -> Event | str:
    ref, after, before = payload.ref("ref"), payload.sha("after"), payload.maybe_sha("before")
    if after == NO_COMMIT:
        return f"{ref} was deleted"
    commit = payload.maybe_sha("checkout_sha") or after  # `after` of an annotated tag is the tag itself
    commits = list(payload.nodes("commits")) if payload.members.get("commits") is not None else []
    head = next((one for one in commits if one.maybe_text("id") == commit), None)
    return Event(
        **_common(payload, given),
        event=PUSH,
        head_ref=ref,
        head_sha=commit,
        tip=after,
        previous=None if before == NO_COMMIT else before,
        paths=_paths(payload, commits),
        message=head.maybe_text("message", None) if head else None,
    )


def _paths(payload: Node, commits: list[Node]) -> tuple[str, ...] | None:
    """Return what the commits touched; None where they are not all told of (GitLab stops at 20)."""
    total = payload.members.get("total_commits_count")
    if not commits or total != len(commits):
        return None
    lists = [one.texts(name) for one in commits for name in ("added", "modified", "removed")]
    if None in lists:
        return None
    return tuple(dict.fromkeys(chain.from_iterable(one for one in lists if one)))


def _merge_request(payload: Node, given: dict[str, Any]) -> Event | str:
    request = payload.node("object_attributes")
    action = request.maybe_text("action")
    if action not in _MERGE_REQUEST:
        return f"a merge request with action {str(action)[:50]} starts no build"
    if action == "update" and request.maybe_text("oldrev") is None:
        return "the merge request was edited, its commits are the same"
    event = _MERGE_REQUEST[action]
    squashed = request.maybe_sha("squash_commit_sha") or request.maybe_sha("merge_commit_sha")
    return Event(
        **_common(payload, given),
        event=event,
        number=request.number("iid"),
        author=request.identity("author_id"),
        head_ref=request.ref("source_branch", "refs/heads/"),
        base_ref=request.ref("target_branch", "refs/heads/"),
        head_sha=request.node("last_commit").sha("id"),
        message=request.node("last_commit").maybe_text("message", None),
        merge_commit=squashed if event == "PULL_REQUEST_MERGED" else None,
        is_fork=request.identity("source_project_id") != request.identity("target_project_id"),
    )


def _release(payload: Node, given: dict[str, Any]) -> Event | str:
    action = payload.maybe_text("action")
    if action not in ("create", "update"):
        return f"a release with action {str(action)[:50]} starts no build"
    return Event(
        **_common(payload, given),
        event="RELEASED",
        head_ref=payload.ref("tag", "refs/tags/"),
        tag_name=payload.text("tag"),
        release_name=payload.maybe_text("name"),
        subject=f"{payload.identity('id')}-{action}",
    )


def _job(payload: Node, given: dict[str, Any]) -> Event | str:
    status = payload.maybe_text("build_status")
    if status not in ("pending", "created"):
        return f"a job that is {str(status)[:50]} starts no build"
    prefix = "refs/tags/" if payload.flag("tag") else "refs/heads/"
    return Event(
        **_common(payload, given),
        event="WORKFLOW_JOB_QUEUED",
        head_sha=payload.sha("sha"),
        head_ref=payload.ref("ref", prefix),
        workflow_name=payload.maybe_text("build_name"),
        subject=payload.identity("build_id"),
    )


def _note(payload: Node, given: dict[str, Any]) -> Event | str:
    note = payload.node("object_attributes")
    sha = approved_commit(note.maybe_text("note", None))
    request = payload.maybe("merge_request")
    if sha is None or request is None or note.maybe_text("action") == "update":
        return "the comment is no /codebuild_run(<sha>) under a merge request"
    number = request.number("iid")
    return Event(
        **_common(payload, given), event=COMMENT, number=number, approves=sha, subject=note.identity("id")
    )  # fmt: skip


_READERS = {
    "Push Hook": _push,
    "Tag Push Hook": _push,
    "Merge Request Hook": _merge_request,
    "Release Hook": _release,
    "Job Hook": _job,
    "Note Hook": _note,
}
