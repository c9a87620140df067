"""Batch builds: the builds that a BatchPlan stands for, each under a name that stays (buildspec.md 13.2 to 13.4)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from math import prod

from agent.buildspec.plan import BatchMatrix, BatchPlan, BatchTask

SHARD = "BuildFanoutShard"
"""What the names of a fan-out's builds begin with; their numbers count from 1 (buildspec.md 13.4)."""

_LONGEST = 127
_FOREIGN = re.compile("[^A-Za-z0-9_]+")

Combination = tuple[tuple[str, str], ...]
"""What a build of a matrix is made of: axis and value, in the order of the axes."""


def build_count(batch: BatchPlan) -> int:
    """Return how many builds there are, without making them."""
    if batch.matrix is not None:
        return prod(len(values) for _, values in _axes(batch.matrix))
    return batch.fanout.parallelism if batch.fanout is not None else len(batch.tasks)


def builds_of(batch: BatchPlan) -> Iterator[BatchTask]:
    """Yield the builds of a valid batch, one at a time: they may have much in common, and much of it."""
    if batch.matrix is not None:
        yield from _of_matrix(batch.matrix)
    elif batch.fanout is not None:
        for number in range(1, batch.fanout.parallelism + 1):
            yield BatchTask(identifier=f"{SHARD}{number}", ignore_failure=batch.fanout.ignore_failure)
    else:
        yield from batch.tasks


def _of_matrix(matrix: BatchMatrix) -> Iterator[BatchTask]:
    axes = _axes(matrix)
    combinations = [
        tuple(zip((name for name, _ in axes), values, strict=True))
        for values in product(*(values for _, values in axes))
    ]
    for identifier, combination in zip(_names(combinations), combinations, strict=True):
        yield _combined(matrix, identifier, combination)


def _axes(matrix: BatchMatrix) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is combined. Keys of the grammar hold a dash or stand alone; a variable is marked with a dollar."""
    axes = [
        ("buildspec", matrix.buildspecs),
        ("compute-type", matrix.compute_types),
        ("image", matrix.images),
        *((f"${name}", values) for name, values in matrix.variables.items()),
    ]
    return [(name, values) for name, values in axes if values]


def _combined(matrix: BatchMatrix, identifier: str, combination: Combination) -> BatchTask:
    chosen = dict(combination)
    variables = {name[1:]: value for name, value in combination if name.startswith("$")}
    environment = matrix.environment.evolve(
        compute_type=chosen.get("compute-type", matrix.environment.compute_type),
        image=chosen.get("image", matrix.environment.image),
        variables={**matrix.environment.variables, **variables},
    )
    return BatchTask(
        identifier=identifier,
        buildspec=chosen.get("buildspec"),
        environment=environment,
        ignore_failure=matrix.ignore_failure,
    )


def _names(combinations: list[Combination]) -> list[str]:
    """Return a name for each combination, made from it alone: it stays when values come, go or change places.

    Where two would be called the same, or a name is too long, a sum of the combination makes the difference.
    """
    plain = [_plain_name(combination) for combination in combinations]
    count = Counter(plain)
    return [
        name if count[name] == 1 and 0 < len(name) <= _LONGEST else _with_sum(name, combination)
        for name, combination in zip(plain, combinations, strict=True)
    ]


def _plain_name(combination: Combination) -> str:
    words = (f"{name[1:]}_{value}" if name.startswith("$") else value for name, value in sorted(combination))
    return _FOREIGN.sub("_", "_".join(words)).strip("_")


def _with_sum(name: str, combination: Combination) -> str:
    total = hashlib.sha256(repr(sorted(combination)).encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - 1 - len(total)]}_{total}".lstrip("_")
