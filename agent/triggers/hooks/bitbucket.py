"""Bitbucket Cloud: headers and body of a delivery -> events (service.md 3.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.triggers.hooks.approval import approved_commit
from agent.triggers.hooks.event import COMMENT, PUSH, Delivery, Event, Repository
from agent.triggers.hooks.payload import Node, header, read

_PULL_REQUEST = {
    "pullrequest:created": "PULL_REQUEST_CREATED",
    "pullrequest:updated": "PULL_REQUEST_UPDATED",
    "pullrequest:fulfilled": "PULL_REQUEST_MERGED",
    "pullrequest:rejected": "PULL_REQUEST_CLOSED",
}
_COMMENT = "pullrequest:comment_created"
_AGENT = re.compile(r"Bitbucket-Webhooks/[\w.]{1,40}", re.ASCII)
_PREFIXES = {"branch": "refs/heads/", "named_branch": "refs/heads/", "tag": "refs/tags/", "annotated_tag": "refs/tags/"}
_MOST_CHANGES = 1000
_PING = "diagnostics:ping"


def bitbucket(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return what a delivery says; header names are in lower case. Raises `RequestInvalid`, naming the member."""
    key = header(headers, "x-event-key")
    number = header(headers, "x-request-uuid")
    if key is None:
        return Delivery(ignored="there is no header X-Event-Key", id=number)
    if key == _PING:
        return Delivery(ignored="ping: the hook is set up", id=number)
    if key not in {"repo:push", _COMMENT, *_PULL_REQUEST}:
        return Delivery(ignored=f"event {key[:50]} starts no build", id=number)
    payload = read(headers, body)
    agent = _AGENT.match(header(headers, "user-agent") or "")
    common = _common(payload, agent[0] if agent else "Bitbucket-Webhooks/2.0")
    if key == "repo:push":
        return _pushes(payload, common, number)
    found = _comment(payload, common) if key == _COMMENT else _pull_request(payload, _PULL_REQUEST[key], common)
    return Delivery(ignored=found, id=number) if isinstance(found, str) else Delivery((found,), id=number)


def _common(payload: Node, initiator: str) -> dict[str, Any]:
    repository = payload.node("repository")
    actor = payload.maybe("actor")
    full_name = repository.text("full_name")
    link = (repository.maybe("links") or Node({})).maybe("html")
    page = link.maybe_text("href") if link else None
    address = f"https://bitbucket.org/{full_name}"
    return {
        "host": "bitbucket",
        "initiator": initiator,
        "repository": Repository(
            name=repository.maybe_text("name") or full_name.rpartition("/")[2],
            full_name=full_name,
            organization=full_name.partition("/")[0],
            addresses=tuple(dict.fromkeys((address, page or address))),
        ),
        "actor": (actor.identity("account_id") or actor.identity("uuid")) if actor else None,
        "login": actor.identity("account_id") if actor else None,
    }


def _pushes(payload: Node, common: dict[str, Any], number: str | None) -> Delivery:
    """Return an event for each ref that a push moved; one that lost its ref says so."""
    events, gone = [], []
    for index, change in enumerate(payload.node("push").nodes("changes")):
        if index >= _MOST_CHANGES:
            change.refuse("new", f"is one of more than {_MOST_CHANGES} changes")
        new, old = change.maybe("new"), change.maybe("old")
        if new is None:
            gone.append(_ref(old) if old else "a ref")
            continue
        target, ref = new.node("target"), _ref(new)
        sha = target.sha("hash")
        events.append(
            Event(
                **common,
                event=PUSH,
                head_ref=ref,
                head_sha=sha,
                tip=sha if ref.startswith("refs/heads/") else None,  # it may be an annotated tag: nobody says
                previous=_target(old),
                message=target.maybe_text("message", None),
            )
        )
    if events:
        return Delivery(tuple(events), id=number)
    return Delivery(ignored=f"{gone[0]} was deleted" if gone else "the push changed nothing", id=number)


def _target(old: Node | None) -> str | None:
    return old.node("target").maybe_sha("hash") if old else None


def _ref(place: Node) -> str:
    prefix = _PREFIXES.get(place.maybe_text("type") or "branch")
    return place.ref("name", prefix) if prefix else place.refuse("type", "is neither branch nor tag")


def _pull_request(payload: Node, event: str, common: dict[str, Any]) -> Event:
    request = payload.node("pullrequest")
    source, base = request.node("source"), request.node("destination")
    merged = request.maybe("merge_commit")
    theirs, ours = source.maybe("repository"), base.maybe("repository")
    return Event(
        **common,
        event=event,
        number=request.number("id"),
        author=(request.maybe("author") or Node({})).identity("account_id"),
        head_ref=source.node("branch").ref("name", "refs/heads/"),
        base_ref=base.node("branch").ref("name", "refs/heads/"),
        head_sha=_short_or_whole(source),
        base_sha=_short_or_whole(base),
        merge_commit=merged.maybe_text("hash") if merged and event == "PULL_REQUEST_MERGED" else None,
        is_fork=theirs is None or ours is None or _identity(theirs) != _identity(ours),
    )


def _short_or_whole(side: Node) -> str:
    """Return the commit of one side; Bitbucket may give its first 12 digits only, which git finds as well."""
    commit = side.node("commit")
    text = commit.text("hash").lower()
    if re.fullmatch(r"[0-9a-f]{12,40}", text) is None:
        commit.refuse("hash", "must be a commit id")
    return text


def _identity(repository: Node) -> str:
    return repository.identity("uuid") or repository.text("full_name")


def _comment(payload: Node, common: dict[str, Any]) -> Event | str:
    comment = payload.node("comment")
    sha = approved_commit((comment.maybe("content") or Node({})).maybe_text("raw", None))
    if sha is None:
        return "the comment is no /codebuild_run(<sha>)"
    number = payload.node("pullrequest").number("id")
    return Event(**common, event=COMMENT, number=number, approves=sha, subject=comment.identity("id"))
