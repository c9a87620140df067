"""Lfs: the big files of Git LFS, fetched at checkout where the host has git-lfs; else somebody is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from agent.errors import BuildspecdError
from agent.kit.files import read_regular
from agent.source.failures import explain
from agent.source.git import NETWORK_SECONDS
from agent.source.mirror import Mirror

_LONGEST = 1 << 20
_MISSING = (
    "warning: .gitattributes asks for Git LFS, which this host does not have: its files are pointers of three lines; "
    "install git-lfs on the host (Debian: apt-get install git-lfs), or `git lfs pull` in the build"
)


def fill(mirror: Mirror, workspace: Path, say: Callable[[str], None]) -> None:
    """Replace the pointers in *workspace* by their files, if the `.gitattributes` at its top asks for that.

    The objects come from the repository's own server (a `.lfsconfig` is not followed), with the repository's own
    login, and stay in the mirror. Raises `SourceRefused`, `SourceNotFound`, `GitUnavailable`.
    """
    if not _is_asked_for(workspace):
        return
    if shutil.which("git-lfs") is None:
        say(_MISSING)
        return
    remote = mirror.remote
    if remote.url.scheme not in ("https", "http"):
        say(f"warning: Git LFS files of {remote.url.text} are not fetched: only over http are they")
        return
    server = remote.url.text.rstrip("/")
    server = f"{server if server.endswith('.git') else f'{server}.git'}/info/lfs"
    words = [f"--git-dir={workspace / '.git'}", f"--work-tree={workspace}"]
    # What a repository says of transfers, hosts and hooks is not asked.
    for setting in (
        f"lfs.url={server}",
        f"lfs.storage={mirror.path / 'lfs'}",
        "lfs.fetchexclude=",
        "lfs.fetchinclude=",
        "lfs.locksverify=false",
        "lfs.skipdownloaderrors=false",
        "lfs.transfer.maxretries=3",
        "filter.lfs.required=true",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "filter.lfs.clean=git-lfs clean -- %f",
        "filter.lfs.process=git-lfs filter-process",
        f"lfs.{server}.access={'basic' if remote.credential else 'none'}",  # else it writes that into .git/config
    ):
        words += ["-c", setting]
    say(f"Fetching Git LFS files from {server}")
    for command in (("lfs", "fetch", "origin", "HEAD"), ("lfs", "checkout")):
        answer = mirror.git.ask(*words, *command, directory=workspace, remote=remote, seconds=NETWORK_SECONDS)
        if answer.status != 0:
            raise _failed(answer.err or answer.text, remote.url.text)


def _failed(complaint: str, place: str) -> BuildspecdError:
    error = explain(complaint, place)
    return type(error)(f"Git LFS: {error.message}", hint=error.hint)


def _is_asked_for(workspace: Path) -> bool:
    """Whether the attributes at the top name LFS; deeper ones are not looked for, which would cost every checkout."""
    attributes = read_regular(workspace / ".gitattributes", _LONGEST)
    return attributes is not None and b"filter=lfs" in attributes
