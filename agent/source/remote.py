"""Heads: what a remote's branches and tags point to right now, and which branch is its default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import SourceNotFound
from agent.kit.service import StopToken
from agent.source import refs
from agent.source.credentials import Remote
from agent.source.git import Git
from agent.source.lsrefs import LsRefs, NotSpoken
from agent.source.url import without_logins

LOOK_SECONDS = 30.0
"""Longest time for a look at a remote's refs."""


@dataclass(frozen=True)
class Heads:
    """Full ref name -> object id (of an annotated tag: the tag's own). `default` is the branch that HEAD names.

    `moved_to` is the address that the server answers from instead, where the repository was renamed.
    """

    refs: dict[str, str] = field(default_factory=dict)
    default: str | None = None
    head: str | None = None
    moved_to: str = ""


def local_git_dir(remote: Remote) -> Path | None:
    """Return the git directory of a remote that lies on this machine and can be read without git, else None.

    Raises `SourceNotFound` when nothing is there.
    """
    if not remote.url.is_local:
        return None
    directory = refs.git_dir(Path(remote.url.path))
    if directory is None:
        raise SourceNotFound(f"{remote.url.text}: no git repository there", hint="check the location of the source")
    return directory if refs.is_readable(directory) else None


def read_heads(
    git: Git, remote: Remote, names: Sequence[str] = (), stop: StopToken | None = None, *, ls_refs: LsRefs | None = None
) -> Heads:
    """Return HEAD and those of *names* that exist; a name is a full ref, or a prefix such as `refs/heads/*`.

    A repository on this machine is read directly, one behind HTTP is asked through *ls_refs*: both without a process.
    Raises `SourceNotFound`, `SourceRefused`, `GitUnavailable`.
    """
    directory = local_git_dir(remote)
    if directory is None:
        return _ask_in_process(ls_refs, remote, names, stop) or _ask(git, remote, names, stop)
    default, head = refs.read_head(directory)
    wanted = tuple(name.removesuffix("*") for name in names)
    found = refs.read_refs(directory, wanted) if wanted else {}
    return Heads(_only(found, names), default, head)


def _ask_in_process(
    ls_refs: LsRefs | None, remote: Remote, names: Sequence[str], stop: StopToken | None
) -> Heads | None:
    """Return what the server says, or None where it is git's to ask."""
    if ls_refs is None:
        return None
    try:
        answer = ls_refs.ask(remote, names, stop)
    except NotSpoken:
        return None
    return Heads(_only(answer.refs, names), answer.default, answer.head)


def _ask(git: Git, remote: Remote, names: Sequence[str], stop: StopToken | None) -> Heads:
    answer = git.run(
        "ls-remote", "--symref", "--", remote.url.text, "HEAD", *names, remote=remote, seconds=LOOK_SECONDS, stop=stop
    )
    found: dict[str, str] = {}
    default = None
    for line in answer.text.splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            default = value[5:]
        elif len(value) == 40:
            found[name] = value
    return Heads(_only(found, names), default, found.get("HEAD"), _moved(answer.err))


def _moved(complaint: str) -> str:
    """Return where git was sent instead: it follows within the first request, and says so."""
    found = re.search(r"^warning: redirecting to (\S+)", complaint, re.MULTILINE)
    return without_logins(found[1]) if found else ""


def _only(found: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """Drop what git's looser matching adds (`x/refs/heads/main`, peeled tags)."""
    exact = {name for name in names if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
    return {
        name: sha
        for name, sha in found.items()
        if not name.endswith("^{}") and (name in exact or name.startswith(prefixes))
    }
