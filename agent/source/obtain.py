"""Obtain: has the commit that a source version means in the mirror, asking the server for no more than is needed."""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.errors import SourceNotFound
from agent.source import refs
from agent.source import remote as remotes
from agent.source.git import Git
from agent.source.mirror import Mirror
from agent.source.revision import Revision
from agent.source.version import Version, branch_of

Say = Callable[[str], None]


def obtain(git: Git, mirror: Mirror, version: Version, say: Say, *, narrow: bool) -> Revision:
    """Have the commit that *version* means in the mirror, asking the server for no more than is needed.

    *narrow*: fetch only the ref that is named, not every branch and tag (a build that cuts history shows no others).
    """
    if version.sha is not None:
        return Revision(obtain_sha(mirror, version), _seen_ref(mirror, version))
    ref = version.ref
    if ref is None and version.name is None:
        ref = _default_ref(git, mirror)
    if ref is not None:
        return Revision(obtain_ref(mirror, ref, narrow=narrow), ref)
    return _obtain_name(mirror, version.name or "", say)


def obtain_sha(mirror: Mirror, version: Version) -> str:
    sha = version.sha or ""
    attempts: list[Callable[[], None]] = [lambda: None]
    if version.ref is not None:
        named = version.ref
        attempts.append(lambda: mirror.fetch_ref(named))
    attempts += [mirror.fetch_all, lambda: mirror.fetch_commit(sha)]
    missing: SourceNotFound | None = None
    for attempt in attempts:
        try:
            attempt()
        except SourceNotFound as error:
            missing = error  # the ref is gone, or this server gives no bare commits: the next attempt may still do
            continue
        if commit := mirror.find(sha):
            return commit
    raise SourceNotFound(
        f"{mirror.remote.url.text}: commit {sha} does not exist", hint="check sourceVersion; was the commit pushed?"
    ) from missing


def obtain_ref(mirror: Mirror, ref: str, *, narrow: bool) -> str:
    commit = _already_here(mirror, ref)
    if commit is None:
        if narrow or not ref.startswith(("refs/heads/", "refs/tags/")):
            mirror.fetch_ref(ref)
        else:
            mirror.fetch_all()
        commit = _commit_at(mirror, ref)
    if commit is None:
        raise _no_such(mirror, ref)
    return commit


def _obtain_name(mirror: Mirror, name: str, say: Say) -> Revision:
    branch, tag = f"refs/heads/{name}", f"refs/tags/{name}"
    mirror.fetch_all()
    found = [ref for ref in (branch, tag) if ref in mirror.refs()]
    if len(found) > 1:
        say(f"warning: {name!r} is a branch and a tag; the branch is built. Say refs/tags/{name} for the tag")
    for ref in found:
        if commit := _commit_at(mirror, ref):
            return Revision(commit, ref)
    raise _no_such(mirror, name)


def _already_here(mirror: Mirror, ref: str) -> str | None:
    """Return the commit of *ref* when a remote on this machine can show that there is nothing new."""
    directory = remotes.local_git_dir(mirror.remote)
    if directory is None:
        return None
    current = refs.read_ref(directory, ref)
    return mirror.find(current) if current else None


def _commit_at(mirror: Mirror, ref: str) -> str | None:
    sha = refs.read_ref(mirror.path, ref)
    if sha is None:
        return None
    return sha if ref.startswith("refs/heads/") else mirror.commit_of(sha)


def _default_ref(git: Git, mirror: Mirror) -> str:
    heads = remotes.read_heads(git, mirror.remote)
    if heads.default is None:
        raise SourceNotFound(
            f"{mirror.remote.url.text}: the repository has no default branch", hint="set sourceVersion of the project"
        )
    if heads.head is None:
        raise SourceNotFound(
            f"{mirror.remote.url.text}: the default branch {branch_of(heads.default)!r} has no commit yet",
            hint="push one, or set sourceVersion of the project",
        )
    return heads.default


def _seen_ref(mirror: Mirror, version: Version) -> str | None:
    if version.name is None:
        return version.ref
    known = mirror.refs()
    return next((ref for ref in (f"refs/heads/{version.name}", f"refs/tags/{version.name}") if ref in known), None)


def _no_such(mirror: Mirror, name: str) -> SourceNotFound:
    hint = "check sourceVersion of the project"
    if re.fullmatch(r"[0-9a-f]{4,39}", name):
        hint = f"{hint}: a commit is given with all of its 40 digits"
    return SourceNotFound(f"{mirror.remote.url.text}: no branch, tag or commit {name!r}", hint=hint)
