"""Submodules: each at the commit that its parent names, from a mirror of its own within the parent's mirror."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SourceNotFound, SourceRefused
from agent.model.cause import Cause
from agent.source.checkout import config_text, empty, make_git_dir, populate
from agent.source.mirror import Mirror

Say = Callable[[str], None]
_DEEPEST = 16


@dataclass(frozen=True)
class Submodule:
    """One entry of `.gitmodules` that the commit really holds."""

    name: str
    path: str
    url: str
    sha: str


def check_out_submodules(mirror: Mirror, sha: str, workspace: Path, say: Say) -> None:
    """Fill in the submodules of commit *sha*, and theirs. *workspace* is checked out at *sha* already.

    The credential of the parent goes to submodules of the same origin only. Raises `SourceRefused` for one that lies
    on this machine while its parent does not, or whose name or path leads out of the work tree.
    """
    _fill(mirror, sha, workspace, workspace / ".git", say, 0)


def list_submodules(mirror: Mirror, sha: str) -> list[Submodule]:
    """Return the submodules of commit *sha* in the order of their paths."""
    declared = _declared(mirror, sha)
    if not declared:
        return []
    links = _links(mirror, sha, sorted(entry["path"] for entry in declared.values() if "path" in entry))
    found = [
        Submodule(name, entry["path"], entry["url"], links[entry["path"]])
        for name, entry in declared.items()
        if entry.get("path") in links and entry.get("url")
    ]
    return sorted(found, key=lambda module: module.path)


def _declared(mirror: Mirror, sha: str) -> dict[str, dict[str, str]]:
    """Read `.gitmodules` out of the commit, never out of the work tree, where it could be a symlink."""
    answer = mirror.git.ask(f"--git-dir={mirror.path}", "config", "--blob", f"{sha}:.gitmodules", "-z", "--list")
    declared: dict[str, dict[str, str]] = {}
    for record in answer.text.split("\0") if answer.status == 0 else ():
        key, _, value = record.partition("\n")
        section, _, rest = key.partition(".")
        name, dot, variable = rest.rpartition(".")
        if section == "submodule" and dot:
            declared.setdefault(name, {})[variable] = value
    return declared


def _links(mirror: Mirror, sha: str, paths: list[str]) -> dict[str, str]:
    listing = mirror.run("--literal-pathspecs", "ls-tree", "-z", sha, "--", *paths).text if paths else ""
    links = {}
    for record in listing.split("\0"):
        meta, _, path = record.partition("\t")
        if meta.startswith("160000 commit "):
            links[path] = meta.split(" ")[2]
    return links


def _fill(mirror: Mirror, sha: str, tree: Path, git_dir: Path, say: Say, depth: int) -> None:
    modules = list_submodules(mirror, sha)
    if modules and depth >= _DEEPEST:
        raise SourceRefused(
            f"submodules are nested more than {_DEEPEST} deep",
            hint="look for one that contains itself",
            cause=Cause.SOURCE_INVALID,
        )
    for module in modules:
        _refuse_hostile(module)
        child = mirror.submodule(mirror.remote.related(module.url))
        commit = _obtain(child, module)
        say(f"Submodule path '{module.path}': checked out '{commit}'")
        inner = git_dir / "modules" / module.name
        _check_out_one(child, commit, tree, module.path, inner)
        with (git_dir / "config").open("a") as config:
            section = f'submodule "{_escaped(module.name)}"'
            config.write(config_text([(section, "active", "true"), (section, "url", child.remote.url.text)]))
        _fill(child, commit, tree / module.path, inner, say, depth + 1)


def _obtain(mirror: Mirror, module: Submodule) -> str:
    commit = mirror.find(module.sha)
    if commit is None:
        mirror.fetch_all()
        commit = mirror.find(module.sha)
    if commit is None:
        mirror.fetch_commit(module.sha)
        commit = mirror.find(module.sha)
    if commit is None:
        raise SourceNotFound(
            f"{mirror.remote.url.text}: commit {module.sha} of submodule {module.path!r} does not exist",
            hint="push the submodule's commit, or point its parent to one that exists",
        )
    return commit


def _check_out_one(mirror: Mirror, sha: str, parent: Path, path: str, git_dir: Path) -> None:
    tree = parent / path
    if Path(os.path.realpath(tree)) != Path(os.path.realpath(parent)) / path:
        raise SourceRefused(
            f"submodule path {path!r} leads through a symlink", hint="correct .gitmodules", cause=Cause.SOURCE_INVALID
        )
    empty(tree)
    make_git_dir(git_dir, mirror, sha, work_tree=os.path.relpath(tree, git_dir))
    populate(mirror, git_dir, tree, sha)
    pointer = tree / ".git"
    pointer.write_text(f"gitdir: {os.path.relpath(git_dir, tree)}\n")
    pointer.chmod(0o644)


def _refuse_hostile(module: Submodule) -> None:
    for text in (module.name, module.path):
        parts = text.split("/")
        if text.startswith(("/", "-")) or any(part in {"", ".", "..", ".git"} for part in parts) or "\n" in text:
            raise SourceRefused(
                f"submodule {module.name!r} has a hostile name or path",
                hint="correct .gitmodules",
                cause=Cause.SOURCE_INVALID,
            )


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
