"""A real git repository for tests, made with the git command and nobody's configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
    "GIT_CONFIG_KEY_1": "safe.directory",
    "GIT_CONFIG_VALUE_1": "*",
    **{f"GIT_{who}_{what}": f"{what}@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(directory: Path, *arguments: str, given: str = "") -> str:
    """Run git in *directory*, with *given* on its standard input, and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=directory, input=given, env=_ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repository:
    """A work tree on branch `main`, and a bare repository that it pushes to, both below *place*."""

    def __init__(self, place: Path, name: str = "app") -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.work = place / f"{name}-work"
        self.bare = place / f"{name}.git"
        git(place, "init", "-q", "-b", "main", str(self.work))
        git(place, "init", "-q", "-b", "main", "--bare", str(self.bare))
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        git(self.bare, "config", "http.receivepack", "true")

    @property
    def url(self) -> str:
        """The bare repository as a file URL."""
        return f"file://{self.bare}"

    def commit(self, message: str = "change", **files: str) -> str:
        """Commit *files* (name -> content; `__` stands for `/`), push the branch, and return the commit."""
        for name, content in (files or {"file": message}).items():
            path = self.work / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)
        self.push("HEAD")
        return self.head

    def push(self, *refspecs: str) -> None:
        """Push to the bare repository."""
        git(self.work, "push", "-q", "-f", str(self.bare), *refspecs)

    def run(self, *arguments: str, given: str = "") -> str:
        """Run git in the work tree."""
        return git(self.work, *arguments, given=given)

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return git(self.work, "rev-parse", "HEAD")
