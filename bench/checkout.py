"""The checkout of a repository of 20,000 files and 2,000 commits, against a fresh `git clone` of the same."""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.model.project import Source
from agent.model.secret import Secret
from agent.pipeline.landing import land
from agent.source.credentials import GitCredential
from agent.source.sources import Sources
from agent.source.spares import Spares
from bench import place
from bench.git_server import served
from bench.result import Result

FILES = 20_000
COMMITS = 2_000
TOUCHED = 8
"""Files that a commit changes."""
ROUNDS = 5
_LOGIN = ("bench", "bench-password")
_PROMISE = 0.25


def measure() -> list[Result]:
    """Return the median of several clones, and of several checkouts of each kind."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch, _server(Path(scratch)) as url:
        times = timings(Path(scratch), url)
    clone = times["clone"]
    what = f"checkout, {FILES} files, {COMMITS} commits, over HTTP"
    second = times["second"] / clone
    return [
        _result(f"{what}: the second, {TOUCHED} files changed", times["second"], clone, second <= _PROMISE, _PROMISE),
        _result("the second, no spare work tree at hand", times["without"], clone),
        _result("the first", times["first"], clone),
    ]


def timings(home: Path, url: str) -> dict[str, float]:
    """Return the median of each, in seconds: fresh clone, first checkout, second with and without a spare."""
    words = Words()
    rounds = [_round(home, url, words, COMMITS + 2 * number) for number in range(ROUNDS)]
    for taken in rounds:
        print({name: round(seconds, 2) for name, seconds in taken.items()}, file=sys.stderr)
    return {name: statistics.median(taken[name] for taken in rounds) for name in rounds[0]}


def _round(home: Path, url: str, words: Words, commits: int) -> dict[str, float]:
    """Measure each once, beginning with nothing."""
    state, served = home / "state", home / "git" / "app.git"
    source = Source.model_validate({"type": "GIT", "location": f"{url}/app.git"})
    entered = url.replace("://", f"://{':'.join(_LOGIN)}@") + "/app.git"
    credential = GitCredential(_LOGIN[0], Secret(_LOGIN[1]))
    spares = Spares(state / "spares")
    ready = Sources(state / "mirrors", credential_for=lambda _: credential, spares=spares)
    plain = Sources(state / "mirrors", credential_for=lambda _: credential)
    taken = {"clone": _timed(lambda: place.git("clone", "--quiet", entered, "clone", at=home))}
    taken["first"] = _timed(lambda: check_out(ready, source, state))
    if not spares.make():
        sys.exit("bench: no spare work tree was made")
    grow(served, words, commits, 1)
    taken["second"] = _timed(lambda: check_out(ready, source, state))
    grow(served, words, commits + 1, 1)
    taken["without"] = _timed(lambda: check_out(plain, source, state))
    shutil.rmtree(state)
    shutil.rmtree(home / "clone")
    return taken


def check_out(sources: Sources, source: Source, state: Path) -> None:
    """Fetch *source* and set it down, as a build does, in an empty workspace."""
    build = state / "builds" / str(time.monotonic_ns())
    (build / "workspace").mkdir(parents=True)
    sources.fetch(source, "main", build / "scratch", lambda _: None)
    land(build / "scratch", build / "workspace", "src")


class Words:
    """Text that is as compressible as source code, the same in every run."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz_"
        self._words = ["".join(self._chance.choices(letters, k=self._chance.randint(3, 9))) for _ in range(4000)]

    def text(self) -> bytes:
        """Return the content of a file: 2 kB in the middle, up to 60."""
        length = min(60_000, int(self._chance.lognormvariate(7.6, 1)))
        return " ".join(self._chance.choices(self._words, k=length // 7 + 1)).encode() + b"\n"

    def some(self, paths: list[str]) -> list[str]:
        """Return the files that a commit changes."""
        return self._chance.sample(paths, TOUCHED)


def grow(repository: Path, words: Words, first: int, commits: int) -> None:
    """Add *commits* to the bare *repository*; the very first holds every file, each later one changes a few."""
    paths = [f"pkg{n % 40:02}/mod{n // 40 % 25:02}/file{n:05}.py" for n in range(FILES)]
    with subprocess.Popen(["git", "fast-import", "--quiet", "--force"], cwd=repository, stdin=subprocess.PIPE) as git:
        assert git.stdin
        for number in range(first, first + commits):
            when = 1_600_000_000 + number * 600
            git.stdin.write(f"commit refs/heads/main\ncommitter A <a@example.com> {when} +0000\ndata 1\nc\n".encode())
            if number == first and number:
                git.stdin.write(b"from refs/heads/main^0\n")
            for path in words.some(paths) if number else paths:
                text = words.text()
                git.stdin.write(f"M 100644 inline {path}\ndata {len(text)}\n".encode() + text + b"\n")
    if git.returncode:
        sys.exit("bench: git fast-import failed")


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _result(name: str, seconds: float, clone: float, kept: bool = True, promise: float | None = None) -> Result:
    return Result(
        name,
        f"{seconds:.2f} s",
        f"git clone: {clone:.2f} s",
        f"{seconds / clone:.2f} x",
        f"at most {promise} x" if promise else "",
        kept,
    )


@contextmanager
def _server(scratch: Path) -> Iterator[str]:
    """Serve the repository, packed as a git host packs it, to those with a login; yield the address."""
    repository = scratch / "git" / "app.git"
    repository.mkdir(parents=True)
    place.git("init", "--quiet", "--bare", "--initial-branch=main", at=repository)
    grow(repository, Words(), 0, COMMITS)
    place.git("repack", "-a", "-d", "-q", "--write-bitmap-index", at=repository)
    with served(scratch / "git", ":".join(_LOGIN)) as address:
        yield address


if __name__ == "__main__":
    for result in measure():
        print(result)
