"""GitHub and GitHub Enterprise: headers and body of a delivery -> events (service.md 3.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from agent.triggers.hooks.approval import approved_commit
from agent.triggers.hooks.event import COMMENT, NO_COMMIT, PUSH, Delivery, Event, Host, Repository
from agent.triggers.hooks.payload import Node, header, read

_PULL_REQUEST = {
    "opened": "PULL_REQUEST_CREATED",
    "synchronize": "PULL_REQUEST_UPDATED",
    "reopened": "PULL_REQUEST_REOPENED",
}
_RELEASE = {"released": "RELEASED", "prereleased": "PRERELEASED"}
_AGENT = re.compile(r"GitHub-Hookshot/[0-9a-f]{1,40}")
_MOST_COMMITS = 2048
"""Commits that a push tells of at most: of a longer one nobody knows all paths."""


def github(headers: Mapping[str, str], body: bytes, host: Host = "github") -> Delivery:
    """Return what a delivery says; header names are in lower case. Raises `RequestInvalid`, naming the member."""
    kind = header(headers, "x-github-event")
    number = header(headers, "x-github-delivery")
    found: Event | str
    if kind is None:
        found = "there is no header X-GitHub-Event"
    elif kind == "ping":
        found = "ping: the hook is set up"
    elif kind not in _READERS:
        found = f"event {kind[:50]} starts no build"
    else:
        payload = read(headers, body)
        agent = _AGENT.match(header(headers, "user-agent") or "")
        initiator = agent[0] if agent else "GitHub-Hookshot"
        found = _READERS[kind](payload, {"host": host, "initiator": initiator})
    return Delivery(ignored=found, id=number) if isinstance(found, str) else Delivery((found,), id=number)


def _common(payload: Node, given: dict[str, Any]) -> dict[str, Any]:
    sender = payload.maybe("sender")
    return {
        **given,
        "repository": _repository(payload),
        "actor": sender.identity("id") if sender else None,
        "login": sender.maybe_text("login") if sender else None,
    }


def _repository(payload: Node) -> Repository:
    repository = payload.node("repository")
    organization = payload.maybe("organization")
    addresses = (repository.maybe_text(name) for name in ("clone_url", "ssh_url", "git_url", "html_url", "url"))
    return Repository(
        name=repository.text("name"),
        full_name=repository.text("full_name"),
        organization=organization.maybe_text("login") if organization else None,
        addresses=tuple(one for one in addresses if one),
    )


def _push(payload: Node, given: dict[str, Any]) -> Event | str:
    ref = payload.ref("ref")
    after = payload.sha("after")
    if payload.flag("deleted") or after == NO_COMMIT:
        return f"{ref} was deleted"
    before, head = payload.maybe_sha("before"), payload.maybe("head_commit")
    return Event(
        **_common(payload, given),
        event=PUSH,
        head_ref=ref,
        head_sha=_commit(head, after),
        tip=after,
        previous=None if before == NO_COMMIT else before,
        paths=_paths(payload, head),
        message=head.maybe_text("message", None) if head else None,
    )


def _commit(head: Node | None, after: str) -> str:
    """Return the commit of a push; of an annotated tag `after` is the tag itself."""
    return (head.maybe_sha("id") if head else None) or after


def _paths(payload: Node, head: Node | None) -> tuple[str, ...] | None:
    commits = list(payload.nodes("commits")) if payload.members.get("commits") is not None else []
    if len(commits) >= _MOST_COMMITS:
        return None
    lists = [
        one.texts(name) for one in commits or ([head] if head else []) for name in ("added", "modified", "removed")
    ]
    if not lists or None in lists:
        return None
    return tuple(dict.fromkeys(chain.from_iterable(one for one in lists if one)))


def _pull_request(payload: Node, given: dict[str, Any]) -> Event | str:
    action = payload.text("action")
    request = payload.node("pull_request")
    if action == "closed":
        event = "PULL_REQUEST_MERGED" if request.flag("merged") else "PULL_REQUEST_CLOSED"
    elif action in _PULL_REQUEST:
        event = _PULL_REQUEST[action]
    else:
        return f"a pull request that was {action[:50]} starts no build"
    head, base = request.node("head"), request.node("base")
    theirs, ours = head.maybe("repo"), base.maybe("repo")
    return Event(
        **_common(payload, given),
        event=event,
        number=request.number("number"),
        author=(request.maybe("user") or Node({})).maybe_text("login"),
        association=_owner(payload, request),
        head_ref=head.ref("ref", "refs/heads/"),
        base_ref=base.ref("ref", "refs/heads/"),
        head_sha=head.sha("sha"),
        base_sha=base.sha("sha"),
        is_fork=theirs is None or ours is None or theirs.identity("id") != ours.identity("id"),
    )


def _owner(payload: Node, subject: Node) -> str | None:
    """Return how the sender belongs to the repository, where *subject* is the sender's own."""
    author, sender = subject.maybe("user"), payload.maybe("sender")
    same = author is not None and sender is not None and author.identity("id") == sender.identity("id")
    return subject.maybe_text("author_association") if same else None


def _release(payload: Node, given: dict[str, Any]) -> Event | str:
    action = payload.text("action")
    if action not in _RELEASE:
        return f"a release that was {action[:50]} starts no build"
    release = payload.node("release")
    return Event(
        **_common(payload, given),
        event=_RELEASE[action],
        head_ref=release.ref("tag_name", "refs/tags/"),
        tag_name=release.text("tag_name"),
        release_name=release.maybe_text("name"),
        subject=release.identity("id"),
    )


def _workflow_job(payload: Node, given: dict[str, Any]) -> Event | str:
    action = payload.text("action")
    if action != "queued":
        return f"a workflow job that was {action[:50]} starts no build"
    job = payload.node("workflow_job")
    branch = job.maybe_text("head_branch")
    return Event(
        **_common(payload, given),
        event="WORKFLOW_JOB_QUEUED",
        head_sha=job.sha("head_sha"),
        head_ref=job.ref("head_branch", "refs/heads/") if branch else None,
        workflow_name=job.maybe_text("workflow_name"),
        subject=job.identity("id"),
    )


def _issue_comment(payload: Node, given: dict[str, Any]) -> Event | str:
    issue, comment = payload.node("issue"), payload.node("comment")
    sha = approved_commit(comment.maybe_text("body", None))
    if payload.text("action") != "created" or sha is None or issue.maybe("pull_request") is None:
        return "the comment is no /codebuild_run(<sha>) under a pull request"
    return Event(
        **_common(payload, given),
        event=COMMENT,
        number=issue.number("number"),
        association=_owner(payload, comment),
        approves=sha,
        subject=comment.identity("id"),
    )


_READERS = {
    "push": _push,
    "pull_request": _pull_request,
    "release": _release,
    "workflow_job": _workflow_job,
    "issue_comment": _issue_comment,
}
