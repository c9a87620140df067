"""Compares judgements with an index of the files: a table of tabs with the columns `id` and `class`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.verdict import ACCEPTED, REFUSED, WARNED, Judgement

EXPECTED = {
    "valid": {ACCEPTED},
    "valid+unknown-keys": {WARNED},
    "odd-shape": {WARNED, REFUSED},
    "invalid-yaml": {REFUSED},
    "template": {WARNED, REFUSED},
    "not-codebuild": {REFUSED},
}
"""Which verdict fits each class of the index."""


@dataclass(frozen=True)
class Disagreement:
    """A file to look at: the index says one thing, buildspecd another."""

    name: str
    indexed: str
    verdict: str


def read_index(path: Path) -> dict[str, str]:
    """Return the class of each id. Raises ValueError where *path* is no such table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or not {"id", "class"} <= rows[0].keys():
        raise ValueError(f"{path} is no table with the columns id and class")
    return {row["id"]: row["class"] for row in rows}


def compare(judgements: Iterable[Judgement], index: dict[str, str]) -> tuple[list[Disagreement], list[str]]:
    """Return the disagreements, and the ids of which there is no file. A file is called `<id>__<any name>`."""
    found = []
    seen = set()
    for judgement in judgements:
        identifier = Path(judgement.name).name.partition("__")[0]
        seen.add(identifier)
        indexed = index.get(identifier, "(not in the index)")
        if judgement.verdict not in EXPECTED.get(indexed, ()):
            found.append(Disagreement(judgement.name, indexed, judgement.verdict))
    return found, sorted(index.keys() - seen)
