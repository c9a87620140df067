"""Run every benchmark and print one table; `--markdown FILE` writes it for docs/BENCHMARKS.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench import attach, buildspec, cache, checkout, commands, idle, output, poll, push, telling
from bench.result import Result

ALL = {
    "buildspec": buildspec.measure,
    "push": push.measure,
    "commands": commands.measure,
    "telling": telling.measure,
    "output": output.measure,
    "idle": idle.measure,
    "poll": poll.measure,
    "attach": attach.measure,
    "checkout": checkout.measure,
    "cache": cache.measure,
}


def main() -> int:
    """Return 0 when every promise is kept."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which ones; all when none is named")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    wanted = parser.parse_args()
    results: list[Result] = []
    for name, measure in ALL.items():
        if not wanted.names or name in wanted.names:
            print(f"measuring: {name}", file=sys.stderr)
            results += measure()
    if wanted.markdown:
        wanted.markdown.write_text(markdown(results))
    print(json.dumps([result.wire() for result in results], indent=2) if wanted.json else markdown(results))
    return 0 if all(result.kept for result in results) else 1


def markdown(results: list[Result]) -> str:
    """Return the table as Markdown."""
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Docker {engine}"
    rows = "\n".join(
        f"| {' | '.join((item.name, item.value, item.baseline, item.ratio, item.promise))} | {verdict(item)} |"
        for item in results
    )
    return f"""# Benchmarks

Made by `make bench` on {machine}, Python {platform.python_version()}.
Every ratio is against a baseline that was measured in the same run.

| what | measured | baseline | ratio | promise | kept |
| --- | --- | --- | --- | --- | --- |
{rows}
"""


def verdict(result: Result) -> str:
    """Return whether the promise is kept, to be seen from afar when it is not."""
    return "yes" if result.kept else "**NO**"


if __name__ == "__main__":
    sys.exit(main())
