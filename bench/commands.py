"""What one command costs: a buildspec with 300 empty ones against one with a single one."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench import place
from bench.result import Result

MANY = 300


def measure() -> list[Result]:
    """Return the cost of one more command."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch:
        one, many = (spec(Path(scratch) / str(count), count) for count in (1, MANY))
        place.run_tree(one)
        single = statistics.median(place.run_tree(one) for _ in range(5))
        several = statistics.median(place.run_tree(many) for _ in range(5))
    cost = (several - single) / (MANY - 1)
    return [
        Result(
            "one command more",
            f"{cost * 1000:.2f} ms",
            f"a whole build with one: {single * 1000:.0f} ms",
            f"{several / single:.2f} x for {MANY}",
            "at most 5 ms",
            cost <= 0.005,
        )
    ]


def spec(directory: Path, count: int) -> Path:
    """Write a tree whose buildspec has *count* commands."""
    directory.mkdir()
    lines = "".join("      - true\n" for _ in range(count))
    (directory / "buildspec.yml").write_text(f"version: 0.2\nphases:\n  build:\n    commands:\n{lines}")
    return directory


if __name__ == "__main__":
    for result in measure():
        print(result)
