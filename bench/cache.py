"""The save step of an unchanged cache of 50,000 files and 1 GB, against `tar | zstd -3 -T0` of the same tree."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.buildspec.plan import CachePlan
from agent.cache.restore import restore
from agent.cache.save import save
from agent.cache.shelf import Shelf
from agent.kit.tree import Tree
from agent.objects.directory import DirectoryStore
from bench.result import Result

_WORDS = 4096
FILES = 50_000
MEGABYTES = 1_000
ROUNDS = 3


def make_tree(root: Path, files: int, size: int) -> None:
    """Fill `root/node_modules` with *files* files of *size* bytes each on average, half as compressible as text."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randint(2, 12)) for _ in range(_WORDS)]
    pool = b"".join(chance.choices(words, k=400_000)) + chance.randbytes(1 << 20)
    for number in range(files):
        folder = root / "node_modules" / f"package-{number // 100}" / f"lib{number // 20 % 5}"
        if number % 20 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        length = chance.randint(size // 2, size * 3 // 2)
        start = chance.randrange(max(1, len(pool) - length))
        (folder / f"file-{number}.js").write_bytes((pool[start : start + length]).ljust(length, b"x"))


def best(rounds: int, work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of *rounds* runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def timings(top: Path, files: int, megabytes: int, rounds: int) -> dict[str, float]:
    """Return every time in seconds, and their ratio."""
    source, again, scratch, peer = top / "source", top / "again", top / "scratch", top / "peer.tar.zst"
    earlier = top / "earlier"  # the scratch directory of the build that saved the cache first
    for folder in (source, again, scratch, earlier):
        folder.mkdir()
    make_tree(source, files, megabytes * 1_000_000 // files)
    shelf = Shelf(DirectoryStore(top / "store"), "bench")
    plan = CachePlan(paths=("node_modules/**/*",))
    command = f"tar -C {shlex.quote(str(again))} -cf - node_modules | zstd -q -3 -T0 -f -o {shlex.quote(str(peer))}"

    def timed(work: Callable[[], object]) -> float:
        return best(1, work)

    tree = Tree(again, "/src")
    first = timed(lambda: expect(save(shelf, plan, Tree(source, "/src"), earlier, print_line), True))
    back = timed(lambda: expect(restore(shelf, plan, tree, scratch, print_line).files, files))
    unchanged = best(rounds, lambda: expect(save(shelf, plan, tree, scratch, print_line), False))
    os.utime(again / "node_modules")
    packed = best(rounds, lambda: subprocess.run(["sh", "-c", command], check=True))
    return {
        "files": files,
        "megabytes": megabytes,
        "first_save_seconds": round(first, 3),
        "restore_seconds": round(back, 3),
        "unchanged_save_seconds": round(unchanged, 3),
        "tar_zstd_seconds": round(packed, 3),
        "ratio": round(unchanged / packed, 4),
    }


def expect(found: object, wanted: object) -> None:
    """Stop the bench when it does not measure what it says."""
    if found != wanted:
        raise SystemExit(f"expected {wanted}, got {found}")


def print_line(line: str) -> None:
    """Show what the build's log would say, apart from the result."""
    print(line, file=sys.stderr)


def measure() -> list[Result]:
    """Return the ratio of both."""
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as top:
        found = timings(Path(top), FILES, MEGABYTES, ROUNDS)
    return [
        Result(
            f"save of an unchanged cache, {FILES} files, {MEGABYTES} MB",
            f"{found['unchanged_save_seconds']:.2f} s",
            f"tar, zstd -3 -T0: {found['tar_zstd_seconds']:.2f} s",
            f"{found['ratio']:.3f} x",
            "at most 0.1 x",
            found["ratio"] <= 0.1,
        )
    ]


if __name__ == "__main__":
    for result in measure():
        print(result)
