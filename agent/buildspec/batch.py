"""Batch: a look at the keys of the `batch` section, which a plain build ignores (buildspec.md 13.2 to 13.4)."""

from __future__ import annotations

from agent.buildspec import grammar
from agent.buildspec.grammar import Keys
from agent.buildspec.problems import Findings
from agent.buildspec.section import Section
from agent.kit.marked_yaml import Mapping


def note_batch(root: Section, findings: Findings) -> bool:
    """Return whether there is a batch, after a look at its keys."""
    batch = root.section("batch", strict=False)
    if batch is None:
        return False
    batch.only(grammar.BATCH)
    _look_at_tasks(batch, "build-list", grammar.BATCH_TASK, findings)
    _look_at_tasks(batch, "build-graph", grammar.BATCH_GRAPH_TASK, findings)
    _look_at_matrix(batch)
    fanout = batch.section("build-fanout")
    if fanout is not None:
        fanout.only(grammar.BATCH_FANOUT)
    return True


def _look_at_tasks(batch: Section, key: str, known: Keys, findings: Findings) -> None:
    for index, item in enumerate(batch.items(key) or ()):
        name = f"{key}[{index}]"
        if isinstance(item, Mapping):
            task = Section(item, findings, path=batch.name_of(name), strict=False)
            task.only(known)
            _look_at_env(task)
        else:
            batch.wrong(item, name, "map")


def _look_at_matrix(batch: Section) -> None:
    matrix = batch.section("build-matrix")
    if matrix is None:
        return
    matrix.only(grammar.BATCH_MATRIX)
    for side in ("static", "dynamic"):
        section = matrix.section(side)
        if section is not None:
            section.only(grammar.BATCH_MATRIX_SIDE)
            _look_at_env(section)


def _look_at_env(section: Section) -> None:
    env = section.section("env")
    if env is not None:
        env.only(grammar.BATCH_ENV)
