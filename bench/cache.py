"""Bench: how long saving an unchanged cache takes, against `tar | zstd -3 -T0` of the same tree.

    python bench/cache.py [--files 50000] [--megabytes 1000] [--rounds 3] [--json]

Makes the tree in a temporary directory, stores and restores it through a directory store, and then times both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent.buildspec.plan import CachePlan
from agent.cache.restore import restore
from agent.cache.save import save
from agent.cache.shelf import Shelf
from agent.kit.tree import Tree
from agent.objects.directory import DirectoryStore

_WORDS = 4096


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


def measure(top: Path, files: int, megabytes: int, rounds: int) -> dict[str, float]:
    """Return every time in seconds, and their ratio."""
    source, again, scratch, peer = top / "source", top / "again", top / "scratch", top / "peer.tar.zst"
    for folder in (source, again, scratch):
        folder.mkdir()
    make_tree(source, files, megabytes * 1_000_000 // files)
    shelf = Shelf(DirectoryStore(top / "store"), "bench")
    plan = CachePlan(paths=("node_modules/**/*",))
    command = f"tar -C {shlex.quote(str(again))} -cf - node_modules | zstd -q -3 -T0 -f -o {shlex.quote(str(peer))}"

    def timed(work: Callable[[], object]) -> float:
        return best(1, work)

    tree = Tree(again, "/src")
    first = timed(lambda: expect(save(shelf, plan, Tree(source, "/src"), scratch, print_line), True))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as top:
        result = measure(Path(top), options.files, options.megabytes, options.rounds)
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"unchanged save {result['unchanged_save_seconds']} s, tar | zstd {result['tar_zstd_seconds']} s, "
        f"ratio {result['ratio']} (at most 0.1); first save {result['first_save_seconds']} s, "
        f"restore {result['restore_seconds']} s"
    )


if __name__ == "__main__":
    main()
