"""Batch: the `batch` section, which a plain build ignores, to a BatchPlan (buildspec.md 13)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from agent.buildspec import grammar
from agent.buildspec.batch_builds import build_count
from agent.buildspec.plan import BatchEnvironment, BatchFanout, BatchMatrix, BatchPlan, BatchTask
from agent.buildspec.problems import Findings, Weight, shown
from agent.buildspec.section import Section
from agent.buildspec.variables import texts, usable
from agent.kit.marked_yaml import Mapping, Node, Scalar, Sequence

_IDENTIFIER = re.compile(grammar.IDENTIFIER)
_WHOLE_NUMBER = re.compile(r"\s*[0-9]{1,9}\s*")
_MOST_NAMED = 20
_MOST_GUESSES = 5
_MOST_NAMES_TO_GUESS = 400


@dataclass
class _Named:
    """A build of a list or a graph, and where its name and those that it waits for stand."""

    task: BatchTask
    identifier: Node
    waits: dict[str, Node]


def read_batch(root: Section, findings: Findings) -> BatchPlan | None:
    """Return the batch; None where there is none, or one that cannot be used, which is told."""
    batch = root.section("batch", weight=Weight.BATCH)
    if batch is None:
        return None
    batch.only(grammar.BATCH)
    before = findings.batch_count
    plan = BatchPlan(fast_fail=batch.yes_no("fast-fail"))
    kinds = [key for key, _ in batch.node.entries if key.text in grammar.BATCH_KINDS and batch.value(key.text)]
    if not kinds:
        findings.batch(batch.node, f"batch holds none of {', '.join(grammar.BATCH_KINDS)}: it needs exactly one")
    for key in kinds[1:]:
        findings.batch(key, f"batch holds `{kinds[0].text}` and `{key.text}`: it needs exactly one of them")
    for key in kinds:
        plan = _with_kind(plan, key.text, batch, findings)
    builds = build_count(plan)
    if builds > grammar.MOST_BUILDS:
        findings.batch(kinds[0], f"the batch has {builds} builds: at most {grammar.MOST_BUILDS} are possible")
    return plan if findings.batch_count == before else None


def _with_kind(plan: BatchPlan, kind: str, batch: Section, findings: Findings) -> BatchPlan:
    match kind:
        case "build-list" | "build-graph":
            return plan.evolve(tasks=_tasks(batch, kind, findings))
        case "build-matrix":
            return plan.evolve(matrix=_matrix(batch, findings))
        case _:
            return plan.evolve(fanout=_fanout(batch, findings))


# ----------------------------------------------------------------------------------------------- lists and graphs


def _tasks(batch: Section, kind: str, findings: Findings) -> tuple[BatchTask, ...]:
    known = grammar.BATCH_GRAPH_TASK if kind == "build-graph" else grammar.BATCH_TASK
    named = [_task(section, known, findings) for section in batch.each(kind)]
    value = batch.value(kind)
    if isinstance(value, Sequence) and not value.items:
        findings.batch(value, f"batch.{kind} holds no build")
    _check_identifiers(named, findings)
    _check_waits(named, findings)
    return tuple(item.task for item in named)


def _task(section: Section, known: grammar.Keys, findings: Findings) -> _Named:
    section.only(known)
    identifier = section.text("identifier")
    if identifier is None and not isinstance(section.value("identifier"), Mapping | Sequence):
        findings.batch(section.node, f"{section.path} has no `identifier`")
    waits = _waits(section, findings) if "depend-on" in known else {}
    task = BatchTask(
        identifier=identifier or "",
        buildspec=section.text("buildspec"),
        environment=_environment(section, findings),
        debug_session=section.yes_no("debug-session"),
        ignore_failure=section.yes_no("ignore-failure"),
        depend_on=tuple(waits),
    )
    return _Named(task, section.node.get("identifier") or section.node, waits)


def _waits(section: Section, findings: Findings) -> dict[str, Node]:
    """Return the identifiers of `depend-on`, with their places; one that stands twice counts once."""
    names = section.texts("depend-on") or ()
    items = section.value("depend-on")
    nodes = items.items if isinstance(items, Sequence) else (items,)
    places = {node.text: node for node in nodes if isinstance(node, Scalar)}
    return {name: places[name] for name in names}


def _environment(section: Section, findings: Findings) -> BatchEnvironment:
    env = section.section("env")
    if env is None:
        return BatchEnvironment()
    env.only(grammar.BATCH_ENV)
    if env.value("compute-type") and env.value("fleet"):
        place = env.node.key("fleet") or env.node
        findings.batch(place, f"{env.path} has a compute-type and a fleet: one of them decides where the build runs")
    return BatchEnvironment(
        compute_type=env.text("compute-type"),
        fleet=env.text("fleet"),
        image=env.text("image"),
        type=env.text("type"),
        privileged_mode=env.yes_no("privileged-mode") if env.value("privileged-mode") else None,
        variables=texts(usable(env.table("variables"), findings)),
    )


def _check_identifiers(named: list[_Named], findings: Findings) -> None:
    """File the names that no build may have, in CodeBuild's words (buildspec.md 13.7), and those that stand twice."""
    given = [item for item in named if item.task.identifier]
    bad = [item for item in given if not _IDENTIFIER.fullmatch(item.task.identifier)]
    rule = "must contain only alphanumeric characters and underscores and be less than 128 characters in length."
    names = ",".join(shown(item.task.identifier, 200) for item in bad[:_MOST_NAMED])
    for item in bad:
        message = f"build identifier `{shown(item.task.identifier)}` {rule}"
        findings.batch(item.identifier, message, f"Build Identifiers {names} {rule}")
    first: dict[str, Node] = {}
    for item in given:
        known = first.setdefault(item.task.identifier, item.identifier)
        if known is not item.identifier:
            message = f"build identifier `{shown(item.task.identifier)}` stands twice: first on line {known.line}"
            findings.batch(item.identifier, message)


def _check_waits(named: list[_Named], findings: Findings) -> None:
    """File dependencies on builds that are not there, and builds that wait for each other."""
    graph = {item.task.identifier: list(item.waits) for item in named}
    unknown = [(item, name) for item in named for name in item.waits if name not in graph]
    for number, (item, name) in enumerate(unknown):
        # A guess looks at every build, so a few of them must do.
        close = grammar.closest(name, graph) if number < _MOST_GUESSES and len(graph) <= _MOST_NAMES_TO_GUESS else ""
        guess = f"; did you mean `{close}`?" if close else ""
        message = f"build `{shown(item.task.identifier)}` depends on `{shown(name)}`, which is no build"
        findings.batch(item.waits[name], f"{message} of this graph{guess}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        # It names each one behind the one that it is needed by, and the first one again at the end.
        way = " -> ".join(shown(name) for name in cycle[::-1][:_MOST_NAMED])
        place = next(item for item in named if item.task.identifier == cycle[-1])
        findings.batch(place.identifier, f"builds wait for each other: {way}")


# ------------------------------------------------------------------------------------------------ matrix, fan-out


def _matrix(batch: Section, findings: Findings) -> BatchMatrix | None:
    matrix = batch.section("build-matrix")
    if matrix is None:
        return None
    matrix.only(grammar.BATCH_MATRIX)
    static, dynamic = matrix.section("static"), matrix.section("dynamic")
    found = BatchMatrix()
    if static is not None:
        static.only(grammar.BATCH_STATIC)
        ignored = static.yes_no("ignore-failure")
        found = found.evolve(ignore_failure=ignored, environment=_environment(static, findings))
    if dynamic is None:
        findings.batch(matrix.node, "batch.build-matrix has no `dynamic`: there is nothing to combine")
        return found
    dynamic.only(grammar.BATCH_DYNAMIC)
    return _combined(found, dynamic, findings)


def _combined(matrix: BatchMatrix, dynamic: Section, findings: Findings) -> BatchMatrix:
    env = dynamic.section("env")
    matrix = matrix.evolve(buildspecs=_choices(dynamic, "buildspec", findings))
    if env is not None:
        env.only(grammar.BATCH_DYNAMIC_ENV)
        matrix = matrix.evolve(
            compute_types=_choices(env, "compute-type", findings),
            images=_choices(env, "image", findings),
            variables=_variables(env, findings),
        )
    if not (matrix.buildspecs or matrix.compute_types or matrix.images or matrix.variables):
        findings.batch(dynamic.node, f"{dynamic.path} holds nothing to combine")
    if matrix.compute_types and matrix.environment.fleet:
        findings.batch(dynamic.node, "the builds of the matrix have a compute-type and a fleet: one of them decides")
    return matrix


def _variables(env: Section, findings: Findings) -> dict[str, tuple[str, ...]]:
    table = env.section("variables")
    if table is None:
        return {}
    names = {key.text: key for key, _ in table.node.entries}
    for name, key in names.items():
        if table.value(name) is None:
            findings.batch(key, f"{table.name_of(name)} has no values: no build could be combined")
    return {name: _choices(table, name, findings) for name in usable(names, findings)}


def _choices(section: Section, key: str, findings: Findings) -> tuple[str, ...]:
    """Return the values of a list, each once."""
    given = section.texts(key)
    if given is None:
        return ()
    node = section.node.get(key) or section.node
    if not given:
        findings.batch(node, f"{section.name_of(key)} is empty: no build could be combined")
    found = tuple(dict.fromkeys(given))
    if len(found) < len(given):
        findings.warning(node, f"{section.name_of(key)} holds a value twice, which counts once")
    return found


def _fanout(batch: Section, findings: Findings) -> BatchFanout | None:
    fanout = batch.section("build-fanout")
    if fanout is None:
        return None
    fanout.only(grammar.BATCH_FANOUT)
    key = grammar.BATCH_FANOUT["parallelism"]
    value = fanout.value("parallelism")
    number = int(value.text) if isinstance(value, Scalar) and _WHOLE_NUMBER.fullmatch(value.text) else 0
    if value is None:
        findings.batch(fanout.node, f"{fanout.path} has no `parallelism`")
    elif not key.least <= number <= key.most:
        words = f"{fanout.path}.parallelism must be a whole number from {key.least} to {key.most}"
        findings.batch(value, words)
    return BatchFanout(parallelism=max(number, key.least), ignore_failure=fanout.yes_no("ignore-failure"))
