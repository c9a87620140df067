"""Address: which projects an event's repository belongs to: one repository has many spellings. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from agent.errors import SourceRefused
from agent.model.project import Project
from agent.source import url
from agent.triggers.hooks.event import Event, Host
from agent.triggers.hooks.scope import bound, is_scoped

_TYPES: dict[Host, frozenset[str]] = {
    "github": frozenset({"GITHUB", "GITHUB_ENTERPRISE", "GIT"}),
    "github_enterprise": frozenset({"GITHUB", "GITHUB_ENTERPRISE", "GIT"}),
    "bitbucket": frozenset({"BITBUCKET", "GIT"}),
    "gitlab": frozenset({"GITLAB", "GITLAB_SELF_MANAGED", "GIT"}),
}


@lru_cache(maxsize=8192)
def spelling(location: str) -> tuple[str, str] | None:
    """Return host and path of a repository, the same for https, http, ssh and git URLs, with `.git` or without.

    Ports and user names are left out, and upper case, which these hosts do not tell apart. None: no address of one.
    """
    try:
        address, _ = url.parse(location)
    except SourceRefused:
        return None
    path = address.path.strip("/").removesuffix(".git").rstrip("/")
    if address.is_local:
        return "", path
    return address.host.rstrip("."), path.casefold()


def takes_hooks(project: Project, host: Host) -> bool:
    """Whether *project* has a webhook for events of *host*."""
    return project.webhook is not None and project.source.type in _TYPES[host] and bool(project.source.location)


def concerned(projects: Iterable[Project], event: Event) -> list[Project]:
    """Return those of *projects* whose source is the event's repository, by name.

    One for a whole organisation comes with the repository put into it.
    """
    spellings = {spelling(address) for address in event.repository.addresses} - {None}
    found = []
    for one in projects:
        if is_scoped(one):
            found += [there] if (there := bound(one, event)) else []
        elif spelling(one.source.location or "") in spellings:
            found.append(one)
    return sorted(found, key=lambda project: project.name)
