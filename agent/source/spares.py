"""Spares: work trees of big repositories, made in quiet moments, so that the next checkout only changes what differs.

Nearly all of a checkout's time goes into making its files, and no tuning of git helps with that. So after a checkout of
many files another one is made at the same commit, in the background. The next checkout of the repository takes it by
renaming and has git bring it to its own commit. Nobody but us and git ever sees a spare before it is taken, each is
taken once, and what was taken gets the times that a fresh checkout has: a tool that compares times (make, cargo) would
else believe that a cached result is newer than a source which it was not made from.

    <root>/lock                             held by whoever makes or clears away
    <root>/aside/<anything>                 not whole yet, or done with; whoever has the lock removes it
    <root>/<mirror>/<boot id>.<commit>      a whole spare. One of an earlier boot may be torn, for nothing is synced
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.errors import BuildspecdError
from agent.kit.clock import Clock, SystemClock, boot_id
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.source import workindex
from agent.source.checkout import make_git_dir, populate
from agent.source.mirror import Mirror

KEPT_SECONDS = 7 * 86400.0
LEAST_FILES = 2000
"""Fewer files are quickly made; a spare of them would not be worth its disk space."""
PAUSE_SECONDS = 1.0
SWEEP_SECONDS = 600.0
RESERVE_BYTES = 10 << 30
"""What stays free on the disk at least, unless a tenth of it is less."""

_ASIDE = "aside"
_BLOCK = 4096
_SECOND = 1_000_000_000
_LOWEST = 19
_WHOLE = re.compile(r"(?P<boot>[0-9a-f-]+)\.(?P<sha>[0-9a-f]{40})")
_log = get_logger("spares")


@dataclass(frozen=True)
class Disk:
    """How big a file system is and what is free of it, in bytes and inodes; no *inodes*: they are made as needed."""

    size: int
    free: int
    inodes: int
    free_inodes: int

    @property
    def reserve(self) -> int:
        """What stays free of it."""
        return min(RESERVE_BYTES, self.size // 10)


def disk_of(path: Path) -> Disk:
    """Return the file system that *path* is on."""
    found = os.statvfs(path)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


class Spares:
    """A Service that keeps one spare work tree a repository, and what checkouts are filled with.

    *root* lies on the disk of the workspaces. A spare that nobody took for *kept* seconds goes; 0: there are none.
    Safe to share between threads; other processes may use the same *root*.
    """

    name = "spares"

    def __init__(
        self,
        root: Path,
        *,
        kept: float = KEPT_SECONDS,
        least_files: int = LEAST_FILES,
        clock: Clock | None = None,
        disk_of: Callable[[Path], Disk] = disk_of,
    ) -> None:
        self.root = root
        self._kept = kept
        self._least = least_files
        self._disk_of = disk_of
        self._clock: Clock = clock or SystemClock()
        self._boot = boot_id()
        self._filling = 0
        self._wishes: dict[Path, tuple[Mirror, str]] = {}
        self._lock = threading.Lock()

    def fill(self, mirror: Mirror, git_dir: Path, work_tree: Path, sha: str) -> None:
        """Write the files of commit *sha*, and the index: from a spare where there is one, else all of them.

        *work_tree* is empty but for *git_dir*, which lies in it. Raises what `checkout.populate` does.
        """
        with self._lock:
            self._filling += 1
        try:
            if not self._fill_from_spare(mirror, git_dir, work_tree, sha):
                populate(mirror, git_dir, work_tree, sha)
        finally:
            with self._lock:
                self._filling -= 1
        if self._kept and self._boot and workindex.count(git_dir / "index") >= self._least:
            with self._lock:
                self._wishes[mirror.path] = (mirror, sha)

    def run(self, stop: StopToken) -> None:
        """Make what is wanted and remove what is not, until *stop*; at the lowest priority, on a thread of its own."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)  # of this thread; git inherits it
        due = self._clock.monotonic()
        while not stop.is_set:
            if self._clock.monotonic() >= due:
                self.sweep(self._clock.now())
                due = self._clock.monotonic() + SWEEP_SECONDS
            self.make(stop)
            self._clock.wait(PAUSE_SECONDS, stop)

    def make(self, stop: StopToken | None = None) -> int:
        """Make the spares that are wanted, as long as no checkout is under way; return how many were made."""
        made = 0
        while not (stop and stop.is_set) and (wish := self._next_wish()):
            mirror, sha = wish
            try:
                made += self._make(mirror, sha, stop)
            except (BuildspecdError, OSError, ValueError) as error:
                if not (stop and stop.is_set):
                    _log.warning("no spare work tree", source=mirror.remote.url.text, error=str(error))
        return made

    def sweep(self, now: float) -> None:
        """Remove what is old or of an earlier boot, what killed processes left, and everything where space is short."""
        for spare in self._all():
            whole = _WHOLE.fullmatch(spare.name)
            if not whole or whole["boot"] != self._boot or self._is_old(spare, now) or self._is_short():
                self._set_aside(spare)
        self._clear_away()

    def shed(self) -> None:
        """Remove every spare: the disk is full, and they are what a build misses least. Raises nothing."""
        with self._lock:
            self._wishes.clear()
        for spare in self._all():
            self._set_aside(spare)
        with suppress(OSError):
            self._clear_away()

    def forget(self, mirror: Mirror) -> None:
        """Have no spare that came from *mirror*, which has turned out to be damaged."""
        with self._lock:
            self._wishes.pop(mirror.path, None)
        for spare in _children(self._home(mirror)):
            self._set_aside(spare)

    def _next_wish(self) -> tuple[Mirror, str] | None:
        with self._lock:
            if self._filling or not self._wishes:
                return None
            return self._wishes.pop(next(iter(self._wishes)))

    def _make(self, mirror: Mirror, sha: str, stop: StopToken | None) -> bool:
        with self._alone() as handle:
            if handle is None:
                return False
            home, aside = self._home(mirror), self.root / _ASIDE
            _empty_out(aside)
            if self._ready(mirror) or not self._has_room(mirror, sha):
                return False  # one that stands there for some other commit serves as well
            tree = aside / uuid.uuid4().hex
            git_dir = tree / ".git"
            try:
                git_dir.mkdir(parents=True)
                make_git_dir(git_dir, mirror, sha)
                populate(mirror, git_dir, tree, sha, stop=stop, keep_open=(handle,), workers=1)
                workindex.retime(tree, git_dir / "index", time.time_ns() - _SECOND)
                home.mkdir(exist_ok=True)
                tree.rename(home / f"{self._boot}.{sha}")
            finally:
                _empty_out(aside)  # and what others have set aside meanwhile
        return True

    def _fill_from_spare(self, mirror: Mirror, git_dir: Path, work_tree: Path, sha: str) -> bool:
        berth, begun = git_dir / "spare", time.time_ns()
        try:
            if not self._take(mirror, sha, berth):
                return False
            for entry in list(os.scandir(berth)):
                if entry.name != ".git":
                    Path(entry.path).rename(work_tree / entry.name)
            (berth / ".git" / "index").rename(git_dir / "index")
            workindex.check(git_dir / "index")
            # Renaming has changed the inode change times of the topmost files; they are the same files for all that.
            populate(mirror, git_dir, work_tree, sha, settings=("core.trustctime=false",))
            workindex.retime(work_tree, git_dir / "index", _moment_since(begun))
            shutil.rmtree(berth)
        except (BuildspecdError, OSError, ValueError) as error:
            _log.warning("a spare work tree was of no use", source=mirror.remote.url.text, error=str(error))
            if isinstance(error, OSError) and error.errno == errno.EXDEV:
                self._kept = 0  # the workspaces lie on another disk: there is no use in any of them
            _clear(work_tree, git_dir)
            return False
        return True

    def _take(self, mirror: Mirror, sha: str, berth: Path) -> bool:
        """Move a spare that can become commit *sha* to *berth*; whether there was one. Of two takers one gets it."""
        if not self._kept:
            return False
        for spare, commit in self._ready(mirror).items():
            if _attributes_differ(mirror, commit, sha):
                self._set_aside(spare)
                continue
            with suppress(FileNotFoundError):
                spare.rename(berth)
                return True
        return False

    def _ready(self, mirror: Mirror) -> dict[Path, str]:
        """Return the whole spares of *mirror* (there is one at most, but for a moment) with their commits."""
        named = {path: _WHOLE.fullmatch(path.name) for path in _children(self._home(mirror))}
        return {path: name["sha"] for path, name in named.items() if name and name["boot"] == self._boot}

    def _is_old(self, spare: Path, now: float) -> bool:
        try:
            return spare.stat().st_mtime <= now - self._kept
        except FileNotFoundError:
            return False

    def _is_short(self) -> bool:
        disk = self._disk_of(self.root)
        return disk.free < disk.reserve // 2

    def _has_room(self, mirror: Mirror, sha: str) -> bool:
        """Whether the disk has its reserve, of bytes and of inodes, also when the spare is made."""
        listing = mirror.run("ls-tree", "-r", "-l", sha).out.splitlines()
        sizes = (line.split(None, 4)[3] for line in listing)
        needed = sum(-(-int(size) // _BLOCK) * _BLOCK for size in sizes if size.isdigit())
        disk = self._disk_of(self.root)
        inodes = not disk.inodes or disk.free_inodes - len(listing) >= disk.inodes // 20
        if inodes and disk.free - needed >= disk.reserve:
            return True
        _log.info("no spare work tree: the disk has too little room", source=mirror.remote.url.text)
        return False

    def _home(self, mirror: Mirror) -> Path:
        return self.root / mirror.path.stem

    def _all(self) -> list[Path]:
        return [spare for home in self._homes() for spare in _children(home)]

    def _homes(self) -> list[Path]:
        return [home for home in _children(self.root) if home.is_dir() and home.name != _ASIDE]

    def _set_aside(self, spare: Path) -> None:
        """Have nobody take *spare* from now on; it is removed when there is time."""
        with suppress(OSError):  # somebody has taken it, or the disk has not even room for that: later
            (self.root / _ASIDE).mkdir(exist_ok=True)
            spare.rename(self.root / _ASIDE / uuid.uuid4().hex)

    def _clear_away(self) -> None:
        if self.root.is_dir():
            with self._alone() as handle:
                if handle is None:
                    return
                _empty_out(self.root / _ASIDE)
                for home in self._homes():
                    with suppress(OSError):  # it is not empty
                        home.rmdir()

    @contextmanager
    def _alone(self) -> Iterator[int | None]:
        """Yield a descriptor while nobody else makes or clears away; None where somebody does.

        A git of ours inherits it: one that outlives a killed agent keeps others from the tree that it writes.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            yield None
            return
        try:
            yield handle
        finally:
            os.close(handle)


def _attributes_differ(mirror: Mirror, one: str, other: str) -> bool:
    """Whether `.gitattributes` differ anywhere: git would leave files as they are whose line ends should change.

    So they do where *one* is not in the mirror any more.
    """
    if one == other:
        return False
    words = ("diff-tree", "-r", "--name-only", "--no-renames", one, other, "--", ":(glob)**/.gitattributes")
    answer = mirror.git.ask(f"--git-dir={mirror.path}", *words)
    return answer.status != 0 or bool(answer.out)


def _moment_since(begun: int) -> int:
    """Return a time at which a checkout that began at *begun* could have written a file (epoch nanoseconds, both).

    The last one before this second, if there is one: git then need not read the files to know that they are unchanged.
    """
    return max(begun, time.time_ns() // _SECOND * _SECOND - 1)


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _empty_out(directory: Path) -> None:
    for entry in _children(directory):
        shutil.rmtree(entry, ignore_errors=True)


def _clear(work_tree: Path, git_dir: Path) -> None:
    """Remove what an attempt left, all but the git directory itself."""
    shutil.rmtree(git_dir / "spare", ignore_errors=True)
    for name in ("index", "index.lock"):
        (git_dir / name).unlink(missing_ok=True)
    for entry in list(os.scandir(work_tree)):
        if entry.path == str(git_dir):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
