"""Mirror: one bare copy of a repository, kept for ever and fetched only for what is new."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import GitUnavailable, SourceNotFound
from agent.kit.files import write_atomic
from agent.kit.heed import heed
from agent.kit.service import StopToken
from agent.source import refs
from agent.source.credentials import Remote
from agent.source.failures import explain
from agent.source.git import NETWORK_SECONDS, Answer, Git

HEADS_AND_TAGS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n"
_KEPT = "refs/buildspecd/commits/"
_LOCK_PAUSE = 0.01
_FETCH = (
    "fetch",
    "--quiet",
    "--force",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
)


class Mirrors:
    """The mirrors below one directory; a mirror belongs to one URL and one identity (service.md 2.5)."""

    def __init__(self, root: Path, git: Git) -> None:
        self.root = root
        self._git = git

    def path(self, remote: Remote) -> Path:
        """Return where the mirror of *remote* is, or will be. The name says nothing about URL or credential."""
        digest = hashlib.sha256(f"{remote.url.text}\n{remote.fingerprint}".encode()).hexdigest()
        return self.root / f"{digest}.git"

    def mirror(self, remote: Remote) -> Mirror:
        """Return the mirror of *remote*, made if it is not there (empty then)."""
        return Mirror(self.path(remote), remote, self._git)

    def at(self, path: Path, remote: Remote) -> Mirror:
        """Return the mirror that lies at *path*, for work that asks nobody; messages call it *remote*."""
        return Mirror(path, remote, self._git)

    def forget_unused(self, before: float, keep: frozenset[Path]) -> list[Path]:
        """Remove the mirrors that nobody has used since *before* (epoch seconds), and broken ones, but for *keep*."""
        removed = []
        for path in sorted(self.root.glob("*.git*")) if self.root.is_dir() else ():
            if path.is_dir() and path not in keep and path.stat().st_mtime < before:
                shutil.rmtree(path, ignore_errors=True)
                Path(f"{path}.lock").unlink(missing_ok=True)
                removed.append(path)
        return removed


@dataclass(frozen=True)
class Mirror:
    """A bare repository of ours. Objects are only ever added, so that a build may read them at any time."""

    path: Path
    remote: Remote
    git: Git

    def __post_init__(self) -> None:
        if not (self.path / "HEAD").is_file():
            with self.locked():
                self._make()

    def submodule(self, remote: Remote) -> Mirror:
        """Return the mirror of a submodule; it lies within this one, so that one mount shows both to a build."""
        return Mirrors(self.path / "modules", self.git).mirror(remote)

    @property
    def objects(self) -> Path:
        """The object directory, which checkouts borrow from."""
        return self.path / "objects"

    def refs(self) -> dict[str, str]:
        """Return branches and tags as they were at the last fetch."""
        return refs.read_refs(self.path)

    def find(self, sha: str) -> str | None:
        """Return the commit that object *sha* is, or that the tag *sha* names; None unless it is here, whole.

        That an object exists proves nothing, for a killed fetch leaves parts; that a ref reaches it does.
        """
        held = refs.read_refs(self.path, ("refs/",))
        if any(value == sha and not name.startswith("refs/tags/") for name, value in held.items()):
            return sha
        if sha in held.values():
            return self.commit_of(sha)
        answer = self._ask("for-each-ref", "--count=1", "--format=x", "--contains", sha)
        return self.commit_of(sha) if answer.status == 0 and answer.text else None

    def commit_of(self, sha: str) -> str:
        """Return the commit that *sha* is, or that the tag *sha* names. Raises `SourceNotFound` for anything else."""
        answer = self._ask("rev-parse", "--quiet", "--verify", "--end-of-options", f"{sha}^{{commit}}")
        if answer.status != 0:
            raise SourceNotFound(f"{self.remote.url.text}: {sha} is not a commit", hint="check sourceVersion")
        return answer.text

    def run(self, *arguments: str) -> Answer:
        """Run a git command that only reads this mirror; a failure that shows damage raises `MirrorBroken`."""
        return self.git.run(f"--git-dir={self.path}", *arguments)

    def fetch_all(self) -> None:
        """Bring every branch and tag up to date; those that the server has dropped go."""
        self._fetch(("--prune", *self._url(), *HEADS_AND_TAGS))

    def fetch_ref(self, name: str) -> None:
        """Bring one ref up to date. Raises `SourceNotFound` when the server has no such ref."""
        try:
            self._fetch((*self._url(), f"+{name}:{name}"))
        except GitUnavailable:
            if not name.startswith(("refs/heads/", "refs/tags/")):
                raise
            self.fetch_all()  # `a` may stand where `a/b` comes to be; only pruning clears that

    def fetch_commit(self, sha: str) -> None:
        """Fetch a commit that no branch or tag leads to; not every server gives it (`SourceNotFound`)."""
        self._fetch((*self._url(), f"{sha}:{_KEPT}{sha}"))

    def renew(self) -> None:
        """Set a damaged mirror aside and start an empty one."""
        with self.locked():
            self.path.rename(f"{self.path}.broken-{time.time_ns()}")
            self._make()

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold this mirror against other fetches, ours and other processes'; yields the lock's descriptor.

        The kernel releases it with the last process that has it open. A fetch inherits it, so that one which outlives
        a killed agent still keeps others away.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(handle)
            yield handle
        finally:
            os.close(handle)

    def _acquire(self, handle: int) -> None:
        deadline = time.monotonic() + NETWORK_SECONDS
        pause = StopToken()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise GitUnavailable(
                        f"{self.remote.url.text}: another fetch has held the mirror for an hour",
                        hint=f"end the git process that has {self.path}.lock open",
                    ) from None
                heed()
                pause.wait(_LOCK_PAUSE)

    def compact(self) -> None:
        """Bring many small packs and loose objects together; drops nothing. For quiet hours: it may take minutes."""
        with self.locked() as handle:
            self.git.run(f"--git-dir={self.path}", "pack-refs", "--all", keep_open=(handle,))
            self.git.run(
                f"--git-dir={self.path}", "repack", "--quiet", "-d", "--geometric=2", seconds=NETWORK_SECONDS,
                keep_open=(handle,),
            )  # fmt: skip

    def _fetch(self, arguments: Sequence[str]) -> None:
        with self.locked() as handle:
            _drop_debris(self.path)
            answer = self.git.ask(
                f"--git-dir={self.path}",
                *_FETCH,
                *arguments,
                remote=self.remote,
                seconds=NETWORK_SECONDS,
                keep_open=(handle,),
            )
            os.utime(self.path)
            if answer.status != 0:
                _drop_debris(self.path)  # on a full disk nobody could write before the next fetch
        if answer.status != 0:
            raise explain(answer.err or f"git fetch ended with status {answer.status}", self.remote.url.text)

    def _ask(self, *arguments: str) -> Answer:
        return self.git.ask(f"--git-dir={self.path}", *arguments)

    def _url(self) -> tuple[str, str]:
        return "--", self.remote.url.text

    def _make(self) -> None:
        """Make an empty repository; HEAD comes last and says that it is whole."""
        for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_atomic(self.path / "config", _CONFIG, sync=False)
        write_atomic(self.path / "HEAD", b"ref: refs/heads/main\n", sync=False)


def _drop_debris(path: Path) -> None:
    """Remove what a git that failed or was killed left. We hold the mirror, so no living git has any of it."""
    for name in ("packed-refs.lock", "shallow.lock", "config.lock", "HEAD.lock"):
        (path / name).unlink(missing_ok=True)
    for lock in (path / "refs").rglob("*.lock"):
        lock.unlink(missing_ok=True)
    for part in (path / "objects").glob("*/tmp_*"):  # of packs and of loose objects
        part.unlink(missing_ok=True)
