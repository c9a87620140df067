"""Deliveries of git hosts: small payloads with the structure of the real ones, and their headers, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any

Json = dict[str, Any]

BEFORE, AFTER, HEAD, BASE = "a" * 40, "b" * 40, "c" * 40, "d" * 40
ZEROS = "0" * 40
GITHUB_URL = "https://github.com/octo/shop.git"
BITBUCKET_URL = "https://bitbucket.org/octo/shop"
GITLAB_URL = "https://gitlab.com/octo/sub/shop.git"


def github_repository(url: str = GITHUB_URL, number: int = 1) -> Json:
    """Return `repository` as GitHub tells it."""
    return {
        "id": number,
        "name": "shop",
        "full_name": "octo/shop",
        "owner": {"login": "octo", "id": 21},
        "html_url": url.removesuffix(".git"),
        "clone_url": url,
        "ssh_url": "git@github.com:octo/shop.git" if "github.com" in url else None,
        "default_branch": "main",
    }


def github_push(
    ref: str = "refs/heads/main", before: str = BEFORE, after: str = AFTER, url: str = GITHUB_URL, **more: Any
) -> Json:
    """Return a push of two commits."""
    first = {"id": "1" * 40, "message": "one", "added": ["docs/a.md"], "removed": [], "modified": []}
    last = {"id": after, "message": "fix: two", "added": [], "removed": ["old.py"], "modified": ["src/x.py"]}
    gone = after == ZEROS
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "created": before == ZEROS,
        "deleted": gone,
        "forced": False,
        "base_ref": None,
        "commits": [] if gone else [first, last],
        "head_commit": None if gone else last,
        "repository": github_repository(url),
        "pusher": {"name": "ada"},
        "sender": {"login": "ada", "id": 7001, "type": "User"},
        **more,
    }


def github_pull(
    action: str = "opened",
    *,
    merged: bool = False,
    fork: bool = False,
    head: str = HEAD,
    association: str = "MEMBER",
    url: str = GITHUB_URL,
    number: int = 7,
) -> Json:
    """Return an event of a pull request from `feature/x` to `main`."""
    ours = github_repository(url)
    theirs = {**ours, "id": 99, "full_name": "eve/shop"} if fork else ours
    return {
        "action": action,
        "number": number,
        "pull_request": {
            "number": number,
            "state": "open",
            "merged": merged,
            "merge_commit_sha": None,
            "draft": False,
            "author_association": association,
            "user": {"login": "ada", "id": 7001},
            "head": {"ref": "feature/x", "sha": head, "repo": theirs},
            "base": {"ref": "main", "sha": BASE, "repo": ours},
        },
        "repository": ours,
        "organization": {"login": "octo", "id": 21},
        "sender": {"login": "ada", "id": 7001, "type": "User"},
    }


def github_comment(sha: str = HEAD, *, association: str = "MEMBER", text: str | None = None, number: int = 7) -> Json:
    """Return a comment under pull request 7."""
    return {
        "action": "created",
        "issue": {"number": number, "pull_request": {"url": "https://api.github.com/repos/octo/shop/pulls/7"}},
        "comment": {
            "id": 4242,
            "body": f"/codebuild_run({sha})" if text is None else text,
            "author_association": association,
            "user": {"login": "boss", "id": 1},
        },
        "repository": github_repository(),
        "sender": {"login": "boss", "id": 1},
    }


def github_release(action: str = "released") -> Json:
    """Return a release of tag v1.0."""
    return {
        "action": action,
        "release": {"id": 55, "tag_name": "v1.0", "name": "One", "draft": False, "prerelease": False},
        "repository": github_repository(),
        "sender": {"login": "ada", "id": 7001},
    }


def github_job(action: str = "queued") -> Json:
    """Return a job of a workflow."""
    return {
        "action": action,
        "workflow_job": {"id": 66, "head_sha": HEAD, "head_branch": "main", "workflow_name": "Deploy", "name": "job"},
        "repository": github_repository(),
        "sender": {"login": "ada", "id": 7001},
    }


def _bitbucket(**more: Any) -> Json:
    return {
        "actor": {"type": "user", "display_name": "Ada", "account_id": "557058:ada", "uuid": "{1}"},
        "repository": {
            "type": "repository",
            "name": "shop",
            "full_name": "octo/shop",
            "uuid": "{repo}",
            "links": {"html": {"href": BITBUCKET_URL}},
        },
        **more,
    }


def bitbucket_ref(name: str, sha: str, kind: str = "branch") -> Json:
    """Return what a ref was or is, in a change of a push."""
    return {"type": kind, "name": name, "target": {"type": "commit", "hash": sha, "message": f"at {name}\n"}}


def bitbucket_push(*changes: tuple[Json | None, Json | None]) -> Json:
    """Return a push; each change is (old, new)."""
    given = changes or ((bitbucket_ref("main", BEFORE), bitbucket_ref("main", AFTER)),)
    return _bitbucket(push={"changes": [{"old": old, "new": new, "commits": []} for old, new in given]})


def bitbucket_pull(*, fork: bool = False, head: str = HEAD[:12], merge: str | None = None) -> Json:
    """Return an event of a pull request; commits are told in short, as Bitbucket does it."""
    ours = {"full_name": "octo/shop", "uuid": "{repo}"}
    return _bitbucket(
        pullrequest={
            "id": 7,
            "state": "OPEN",
            "author": {"account_id": "557058:ada"},
            "source": {
                "branch": {"name": "feature/x"},
                "commit": {"hash": head},
                "repository": {"full_name": "eve/shop", "uuid": "{eve}"} if fork else ours,
            },
            "destination": {"branch": {"name": "main"}, "commit": {"hash": BASE[:12]}, "repository": ours},
            "merge_commit": {"hash": merge} if merge else None,
        }
    )


def bitbucket_comment(sha: str = HEAD) -> Json:
    """Return a comment under pull request 7."""
    comment = {"id": 4242, "content": {"raw": f"/codebuild_run({sha})"}}
    return {**bitbucket_pull(), "comment": comment}


def _gitlab(**more: Any) -> Json:
    project = {
        "id": 1,
        "name": "Shop",
        "path_with_namespace": "octo/sub/shop",
        "git_http_url": GITLAB_URL,
        "git_ssh_url": "git@gitlab.com:octo/sub/shop.git",
        "web_url": GITLAB_URL.removesuffix(".git"),
        "default_branch": "main",
    }
    return {"project": project, **more}


def gitlab_push(
    ref: str = "refs/heads/main",
    before: str = BEFORE,
    after: str = AFTER,
    *,
    total: int = 1,
    checkout: str | None = None,
) -> Json:
    """Return a push of a branch or a tag that tells of one of *total* commits."""
    gone = after == ZEROS
    commit = {"id": checkout or after, "message": "fix\n", "added": ["src/x.py"], "modified": [], "removed": []}
    return _gitlab(
        object_kind="tag_push" if ref.startswith("refs/tags/") else "push",
        ref=ref,
        before=before,
        after=after,
        checkout_sha=None if gone else checkout or after,
        user_id=7001,
        commits=[] if gone else [commit],
        total_commits_count=0 if gone else total,
    )


def gitlab_merge(action: str = "open", *, fork: bool = False, oldrev: str | None = None) -> Json:
    """Return an event of merge request 7."""
    return _gitlab(
        object_kind="merge_request",
        user={"id": 7001, "username": "ada"},
        object_attributes={
            "iid": 7,
            "id": 700,
            "action": action,
            "source_branch": "feature/x",
            "target_branch": "main",
            "source_project_id": 2 if fork else 1,
            "target_project_id": 1,
            "author_id": 7001,
            "last_commit": {"id": HEAD, "message": "x"},
            "merge_commit_sha": "e" * 40 if action == "merge" else None,
            **({"oldrev": oldrev} if oldrev else {}),
        },
    )


def gitlab_note(sha: str = HEAD) -> Json:
    """Return a comment under merge request 7."""
    return _gitlab(
        object_kind="note",
        user={"id": 1, "username": "boss"},
        object_attributes={"id": 4242, "note": f"/codebuild_run({sha})", "action": "create"},
        merge_request={"iid": 7, "id": 700},
    )


def gitlab_release(action: str = "create") -> Json:
    """Return a release of tag v1.0."""
    return _gitlab(object_kind="release", id=5, action=action, tag="v1.0", name="One")


def gitlab_job(status: str = "pending") -> Json:
    """Return a job."""
    return _gitlab(
        object_kind="build", ref="main", tag=False, sha=HEAD, build_id=9, build_name="deploy", build_status=status,
        user={"id": 7001},
    )  # fmt: skip


def body_of(payload: Json) -> bytes:
    """Return the bytes of a payload."""
    return json.dumps(payload).encode()


def github_headers(event: str, body: bytes, secret: str | None = None, delivery: str | None = None) -> dict[str, str]:
    """Return the headers of a delivery of GitHub, by name in lower case."""
    headers = {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-event": event,
        "x-github-delivery": delivery or str(uuid.uuid4()),
    }
    return headers | ({"x-hub-signature-256": signed(secret, body)} if secret else {})


def bitbucket_headers(key: str, body: bytes, secret: str | None = None) -> dict[str, str]:
    """Return the headers of a delivery of Bitbucket."""
    headers = {"user-agent": "Bitbucket-Webhooks/2.0", "x-event-key": key, "x-request-uuid": str(uuid.uuid4())}
    return headers | ({"x-hub-signature": signed(secret, body)} if secret else {})


def gitlab_headers(event: str, secret: str | None = None) -> dict[str, str]:
    """Return the headers of a delivery of GitLab."""
    headers = {"user-agent": "GitLab/17.5.1", "x-gitlab-event": event, "x-gitlab-event-uuid": str(uuid.uuid4())}
    return headers | ({"x-gitlab-token": secret} if secret else {})


def signed(secret: str, body: bytes) -> str:
    """Return the signature of a body."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
