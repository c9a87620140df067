"""Checkout: a work tree at one exact commit, whose objects stay in the mirror."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.kit.service import StopToken
from agent.source.mirror import Mirror
from agent.source.version import branch_of

DEEPEST = 25
"""The largest `gitCloneDepth` that cuts history; more, or 0, means all of it (service.md 1.3)."""

_PACKED_HEADER = "# pack-refs with: sorted\n"
_SEED_COMMITS = 200


def populate(
    mirror: Mirror,
    git_dir: Path,
    work_tree: Path,
    sha: str,
    *,
    settings: Sequence[str] = (),
    workers: int | None = None,
    stop: StopToken | None = None,
    keep_open: Sequence[int] = (),
) -> None:
    """Have *work_tree* hold the files of commit *sha*, and the index know them, in one process.

    A file that the index knows already, and that is as the index says, stays. *workers* processes write, as many as
    there are processors unless that is given; *settings* are git's (`core.x=y`). *stop* and *keep_open*: see `Git.ask`.
    """
    given = (*settings, *([f"checkout.workers={workers}"] if workers else []))
    words = [word for setting in given for word in ("-c", setting)]
    words += [f"--git-dir={git_dir}", f"--work-tree={work_tree}", "read-tree", "--reset", "-u", sha]
    mirror.git.run(*words, stop=stop, keep_open=keep_open)


Fill = Callable[[Mirror, Path, Path, str], None]
"""Does what `populate` does, given mirror, git directory, work tree and commit."""


def check_out(
    mirror: Mirror, sha: str, workspace: Path, *, ref: str | None = None, depth: int = 0, fill: Fill = populate
) -> None:
    """Make *workspace* hold exactly commit *sha*, HEAD detached. What was in it goes; the directory itself stays.

    The object store is an alternate: the mirror's own, at the path that it has on this host, where a build container
    must see it too. With a *depth* of 1 to 25 history ends there and only a *ref* that is a tag is known; otherwise
    every branch (`origin/x`) and tag is. No credential is written. Raises `MirrorBroken`.
    """
    empty(workspace)
    cut = depth if 1 <= depth <= DEEPEST else 0
    git_dir = workspace / ".git"
    git_dir.mkdir()
    if cut:
        (git_dir / "shallow").write_text("".join(f"{commit}\n" for commit in _boundary(mirror, sha, cut)))
    _write_refs(git_dir, mirror, ref, shallow=bool(cut))
    make_git_dir(git_dir, mirror, sha)
    fill(mirror, git_dir, workspace, sha)


def make_git_dir(git_dir: Path, mirror: Mirror, sha: str, *, work_tree: str | None = None) -> None:
    """Make a git directory with detached HEAD at *sha*, without hooks, that borrows the objects of *mirror*.

    *work_tree* is the path of the files as seen from *git_dir*, where they are not beside it. Everybody may read it,
    whatever the agent's umask: a build may run commands as another user.
    """
    pairs = [
        ("core", "repositoryformatversion", "0"),
        ("core", "filemode", "true"),
        ("core", "bare", "false"),
        ("core", "logallrefupdates", "true"),
        *([("core", "worktree", work_tree)] if work_tree else []),
        ('remote "origin"', "url", mirror.remote.url.text),
        ('remote "origin"', "fetch", "+refs/heads/*:refs/remotes/origin/*"),
    ]
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "logs"):
        (git_dir / name).mkdir(parents=True, exist_ok=True)
    (git_dir / "objects" / "info" / "alternates").write_text(f"{mirror.objects}\n")
    (git_dir / "config").write_text(config_text(pairs))
    who = f"buildspecd <buildspecd@localhost> {int(time.time())} +0000"
    (git_dir / "logs" / "HEAD").write_text(f"{'0' * 40} {sha} {who}\tcheckout: moving from main to {sha}\n")
    (git_dir / "HEAD").write_text(f"{sha}\n")
    for directory, _, files in os.walk(git_dir):
        os.chmod(directory, 0o755)  # noqa: S103, PTH101
        for file in files:
            os.chmod(f"{directory}/{file}", 0o644)  # noqa: PTH101


def empty(directory: Path) -> None:
    """Make *directory* exist with nothing in it; it keeps its identity, for a container may have it mounted."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def config_text(pairs: Sequence[tuple[str, str, str]]) -> str:
    """Return the text of a git configuration; a pair is (section with its quoted subsection, key, value)."""
    lines: list[str] = []
    last = ""
    for section, key, value in pairs:
        if section != last:
            lines.append(f"[{section}]")
            last = section
        lines.append(f"\t{key} = {quoted(value)}")
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """Return *value* as git's configuration files want it; line breaks cannot occur in what we write."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_refs(git_dir: Path, mirror: Mirror, ref: str | None, *, shallow: bool) -> None:
    known = mirror.refs()
    if shallow:
        known = {name: value for name, value in known.items() if name == ref and name.startswith("refs/tags/")}
    names = {_as_seen(name): value for name, value in known.items()}
    lines = (f"{names[name]} {name}\n" for name in sorted(names, key=os.fsencode))
    (git_dir / "packed-refs").write_text(_PACKED_HEADER + "".join(lines), errors="surrogateescape")


def _as_seen(name: str) -> str:
    branch = branch_of(name)
    return f"refs/remotes/origin/{branch}" if branch else name


def _boundary(mirror: Mirror, sha: str, depth: int) -> list[str]:
    """Return the commits at which a history of *depth* ends; git shows them as if they had no parents."""
    if depth == 1:
        return [sha]
    # Most histories are nearly straight, so that one process answers for all levels.
    parents = _parents(mirror, f"--max-count={_SEED_COMMITS}", sha)
    seen = {sha}
    level = [sha]
    for _ in range(depth - 1):
        unknown = [commit for commit in level if commit not in parents]
        if unknown:
            parents |= _parents(mirror, "--no-walk", *unknown)
        above = dict.fromkeys(parent for commit in level for parent in parents[commit])
        level = [commit for commit in above if commit not in seen]
        seen.update(level)
    return level


def _parents(mirror: Mirror, *arguments: str) -> dict[str, list[str]]:
    listing = mirror.run("rev-list", "--parents", *arguments).text
    return {line[:40]: line[41:].split() for line in listing.splitlines()}
