"""Changes: what is new at a remote, compared with what has been asked to build. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.source import version as versions
from agent.source.remote import Heads

INITIATOR = "buildspecd/poll"
EVERY_REF = ("refs/heads/*", "refs/tags/*")

Seen = Mapping[str, str]
"""Full ref name -> object id that a build was asked for."""


@dataclass(frozen=True)
class Change:
    """A ref that points elsewhere than before; `old` is None for one that is new."""

    ref: str
    old: str | None
    new: str


def wanted_refs(project: Project) -> tuple[str, ...]:
    """Return the refs to ask the remote for: all with filter groups, else those that `sourceVersion` can mean.

    Empty: HEAD alone tells (no `sourceVersion`), or nothing can change (a commit).
    """
    if watches_all(project):
        return EVERY_REF
    version = versions.parse_for(project.source, project.source_version)
    if version.ref:
        return (version.ref,)
    return (f"refs/heads/{version.name}", f"refs/tags/{version.name}") if version.name else ()


def watches_all(project: Project) -> bool:
    """Whether every branch and tag may start a build."""
    webhook = project.webhook
    return webhook is not None and bool(webhook.filter_groups or webhook.branch_filter)


def fixed_commit(project: Project) -> str | None:
    """Return the commit when `sourceVersion` names one: it is built once, and there is nothing to look at."""
    if watches_all(project):
        return None
    return versions.parse_for(project.source, project.source_version).sha


def current_refs(project: Project, heads: Heads) -> dict[str, str]:
    """Return the refs that this project follows and where they point now; branches come before tags."""
    if watches_all(project):
        return dict(sorted(heads.refs.items()))
    version = versions.parse_for(project.source, project.source_version)
    if version.ref is None and version.name is None:
        name = heads.default or "HEAD"
        return {name: heads.head} if heads.head else {}
    found = [name for name in wanted_refs(project) if name in heads.refs]
    return {found[0]: heads.refs[found[0]]} if found else {}


def find_changes(current: Mapping[str, str], seen: Seen | None, default: str | None) -> tuple[list[Change], Seen]:
    """Return what to build, and what counts as seen before any of it is built.

    At first sight (*seen* is None) that is one head: the default branch's, or the only one there is.
    A ref that went away is forgotten.
    """
    if seen is None:
        first = default if default in current else next(iter(current), None) if len(current) == 1 else None
        rest = {ref: sha for ref, sha in current.items() if ref != first}
        return [Change(first, None, current[first])] if first is not None else [], rest
    kept = {ref: seen[ref] for ref in current if ref in seen}
    return [Change(ref, seen.get(ref), sha) for ref, sha in current.items() if seen.get(ref) != sha], kept


def request_for(project: Project, change: Change) -> BuildRequest:
    """Return the request for one change; its `dedupe_key` is the same whoever saw the push."""
    return BuildRequest(
        project=project.name,
        source_version=change.new,
        source_ref=change.ref if versions.is_ref(change.ref) else None,
        previous_revision=change.old,
        initiator=INITIATOR,
        dedupe_key=push_key(project, change),
    )


def push_key(project: Project, change: Change) -> str:
    """Return the `dedupe_key` of a push."""
    return f"git:{project.name}:{change.ref}:{change.old or '-'}..{change.new}"


def cursor_key(project: Project) -> str:
    """Return where the seen refs are kept: another repository or another mode of watching starts afresh."""
    place = hashlib.sha256((project.source.location or "").encode()).hexdigest()[:16]
    return f"poll:{project.name}:{place}:{'all' if watches_all(project) else 'one'}"


def encode(seen: Seen) -> str:
    """Return *seen* as the text that is stored."""
    return json.dumps(dict(seen), sort_keys=True, separators=(",", ":"))


def decode(text: str | None) -> Seen | None:
    """Return what was stored; None before the first sight, and for a text that is not ours."""
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
