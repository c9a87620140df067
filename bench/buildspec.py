"""What reading a buildspec costs: a usual file, and a batch of the size of the largest that is known in public."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from agent.buildspec.make import make_batch, make_plan
from agent.kit.marked_yaml import load
from bench.result import Result

USUAL_LINES = 60
HUGE_BYTES = 88_000
MOST_USUAL, MOST_HUGE = 0.010, 0.050
_ROUNDS = 15


def measure() -> list[Result]:
    """Return the time from the text to the plan, of a usual and of a huge file."""
    usual, huge = usual_file(), huge_file()
    lines = usual.count("\n")
    plan = seconds(lambda: make_plan(usual, name="b.yml", location="/src/b.yml"))
    batch = seconds(lambda: make_batch(huge, name="b.yml"))
    return [
        _result(f"the plan of a buildspec of {lines} lines", plan, seconds(lambda: load(usual)), MOST_USUAL),
        _result(f"a batch of {len(huge) // 1000} kB, read and checked", batch, seconds(lambda: load(huge)), MOST_HUGE),
    ]


def _result(name: str, took: float, loading: float, most: float) -> Result:
    return Result(
        name,
        f"{took * 1000:.1f} ms",
        f"its YAML alone: {loading * 1000:.1f} ms",
        f"{took / loading:.1f} x",
        f"at most {most * 1000:.0f} ms",
        took <= most,
    )


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of *work*, the median of a few rounds; what else runs does not count."""
    times = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def usual_file() -> str:
    """Return a buildspec with every section, as long as most."""
    head = """version: 0.2
env:
  shell: bash
  variables:
    STAGE: test
    LEVEL: 010
  parameter-store:
    PASSWORD: /app/password
  exported-variables: [RELEASE]
phases:
  install:
    runtime-versions:
      python: 3.12
    commands:
      - pip install --requirement requirements.txt
  pre_build:
    on-failure: RETRY-2-.*timed out.*
    commands:
      - |
        if [ -n "$STAGE" ]; then
          echo "stage: $STAGE"
        fi
  build:
    commands:
"""
    tail = """  post_build:
    commands:
      - make report
reports:
  unit:
    files: ['**/*.xml']
    base-directory: out
artifacts:
  files:
    - '**/*'
  base-directory: dist
cache:
  key: pip-$(sha256sum < requirements.txt)
  paths:
    - /root/.cache/pip
"""
    missing = USUAL_LINES - head.count("\n") - tail.count("\n")
    return head + "".join(f"      - make step-{number} STAGE=$STAGE\n" for number in range(missing)) + tail


def huge_file() -> str:
    """Return a graph of builds, each with an environment of its own, that wait for each other in rows of ten."""
    parts = ["version: 0.2\nenv:\n  shell: bash\nbatch:\n  fast-fail: false\n  build-graph:\n"]
    size = number = 0
    while size < HUGE_BYTES:
        parts.append(
            f"    - identifier: migration_tests_v{number}\n"
            f"      buildspec: codebuild_specs/migration_tests_v{number % 7}.yml\n"
            "      env:\n"
            "        compute-type: BUILD_GENERAL1_SMALL\n"
            "        variables:\n"
            f"          TEST_SUITE: src/tests/migration/api.key.migration{number}.test.ts\n"
            "          CLI_REGION: us-east-2\n"
            "          USE_PARENT_ACCOUNT: 1\n"
            + (f"      depend-on:\n        - migration_tests_v{number - 10}\n" if number >= 10 else "")
        )
        size += len(parts[-1])
        number += 1
    return "".join(parts)


if __name__ == "__main__":
    for result in measure():
        print(result)
