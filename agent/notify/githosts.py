"""Git hosts: a commit status as a call of GitHub's, GitLab's or Bitbucket's API (service.md 2.4). Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from agent.errors import SourceRefused
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.project import Source
from agent.source import url
from agent.source.url import GitUrl

Kind = Literal["github", "gitlab", "bitbucket"]

_TYPES: dict[str, Kind] = {
    "GITHUB": "github",
    "GITHUB_ENTERPRISE": "github",
    "GITLAB": "gitlab",
    "GITLAB_SELF_MANAGED": "gitlab",
    "BITBUCKET": "bitbucket",
}
_HOSTS: dict[str, Kind] = {"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket"}
_STATES: dict[Kind, dict[CommitState, str]] = {
    "github": {
        CommitState.QUEUED: "pending",
        CommitState.RUNNING: "pending",
        CommitState.SUCCEEDED: "success",
        CommitState.FAILED: "failure",
        CommitState.FAULTED: "error",
        CommitState.STOPPED: "error",
    },
    "gitlab": {
        CommitState.QUEUED: "pending",
        CommitState.RUNNING: "running",
        CommitState.SUCCEEDED: "success",
        CommitState.FAILED: "failed",
        CommitState.FAULTED: "failed",
        CommitState.STOPPED: "canceled",
    },
    "bitbucket": {
        CommitState.QUEUED: "INPROGRESS",
        CommitState.RUNNING: "INPROGRESS",
        CommitState.SUCCEEDED: "SUCCESSFUL",
        CommitState.FAILED: "FAILED",
        CommitState.FAULTED: "FAILED",
        CommitState.STOPPED: "STOPPED",
    },
}
_LONGEST_DESCRIPTION: dict[Kind, int] = {"github": 140, "gitlab": 255, "bitbucket": 255}
_LONGEST_NAME = 255
_LONGEST_KEY = 40
_LONGEST_LINK = 255


@dataclass(frozen=True)
class GitHost:
    """The API of a git host. `api` is an address without a slash at its end, `repository` the path of one on it."""

    kind: Kind
    api: str
    web: str
    repository: str

    @property
    def name(self) -> str:
        """What is left alone when it limits our rate, or does not answer."""
        return self.api.split("/")[2]


@dataclass(frozen=True)
class HostCall:
    """One POST, and its JSON body."""

    url: str
    body: dict[str, str] = field(default_factory=dict)


def host_of(source: Source) -> GitHost | None:
    """Return the host of a source that takes statuses; None for CodeCommit, S3, and servers that nobody knows."""
    try:
        address, _ = url.parse(source.location or "")
    except SourceRefused:
        return None
    kind = _HOSTS.get(address.host) if source.type == "GIT" else _TYPES.get(source.type)
    path = address.path.strip("/").removesuffix(".git")
    parts = path.split("/")
    if kind is None or not address.host or len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        return None
    web = _web(address)
    api = _api(kind, address.host, web)
    if api is None or (kind != "gitlab" and len(parts) != 2):
        return None
    return GitHost(kind, api, web, path)


def call_for(status: CommitStatus) -> HostCall | None:
    """Return the call that tells *status*, its texts within what the host takes; None where nobody can be told."""
    host = host_of(status.source)
    if host is None:
        return None
    state = _STATES[host.kind][status.state]
    description = _cut(status.description, _LONGEST_DESCRIPTION[host.kind])
    name = _cut(status.context, _LONGEST_NAME)
    if host.kind == "bitbucket":
        # Bitbucket insists on a link, and on a key that is short
        link = status.url or f"{host.web}/{quote(host.repository)}/commits/{status.sha}"
        body = {"key": _key(status.context), "name": name, "url": link}
        where = f"repositories/{quote(host.repository)}/commit/{status.sha}/statuses/build"
    else:
        link = _fitting(host.kind, status.url)
        body = {"context": name, **({"target_url": link} if link else {})}
        repository = quote(host.repository, safe="" if host.kind == "gitlab" else "/")
        where = f"{'projects' if host.kind == 'gitlab' else 'repos'}/{repository}/statuses/{status.sha}"
    return HostCall(f"{host.api}/{where}", {"state": state, "description": description, **body})


def _fitting(kind: Kind, link: str | None) -> str:
    """Return *link* where the host takes it: GitLab refuses the whole status for one that is longer than its column."""
    return link if link and (kind != "gitlab" or len(link) <= _LONGEST_LINK) else ""


def _web(address: GitUrl) -> str:
    """Return where the host's pages are; a clone over SSH says nothing of the port of those."""
    if address.scheme in ("http", "https"):
        return "/".join(address.text.split("/", 3)[:3])
    return f"https://{address.host}"


def _api(kind: Kind, host: str, web: str) -> str | None:
    if kind == "gitlab":
        return f"{web}/api/v4"
    if kind == "bitbucket":
        return "https://api.bitbucket.org/2.0" if host == "bitbucket.org" else None
    if host == "github.com":
        return "https://api.github.com"
    return f"https://api.{host}" if host.endswith(".ghe.com") else f"{web}/api/v3"


def _key(context: str) -> str:
    if len(context) <= _LONGEST_KEY:
        return context
    return hashlib.sha256(context.encode()).hexdigest()[:_LONGEST_KEY]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
