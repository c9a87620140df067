"""The section `batch`: what it means, what is wrong with it for a batch build, and what a plain build makes of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent.buildspec.batch_builds import build_count, builds_of
from agent.buildspec.make import make_batch, problems_of
from agent.buildspec.plan import BatchEnvironment, BatchPlan, BatchTask
from agent.errors import BuildspecInvalid, Problem
from tests.unit.buildspec.specs import plan_of, with_build


def batch_of(*lines: str) -> BatchPlan:
    return make_batch(with_build("batch:", *(f"  {line}" for line in lines)), name="b.yml")


def mistakes(*lines: str) -> list[Problem]:
    return [
        problem
        for problem in problems_of(with_build("batch:", *(f"  {line}" for line in lines)), "b.yml", batch=True)
        if problem.fatal
    ]


def test_a_graph_has_its_tasks_in_the_order_of_the_file() -> None:
    batch = batch_of(
        "fast-fail: true",
        "build-graph:",
        "  - identifier: a",
        "    buildspec: ci/a.yml",
        "    env: {compute-type: LARGE, image: x:1, type: ARM, privileged-mode: yes, variables: {N: 010, E: , F: NO}}",
        "    debug-session: true",
        "  - {identifier: 12, env: {fleet: f}, ignore-failure: yes, depend-on: [a, a]}",
        "  - {identifier: c, depend-on: a}",
    )
    assert batch.fast_fail
    assert batch.tasks == (
        BatchTask(
            identifier="a",
            buildspec="ci/a.yml",
            environment=BatchEnvironment(
                compute_type="LARGE",
                image="x:1",
                type="ARM",
                privileged_mode=True,
                variables={"N": "010", "E": "", "F": "NO"},
            ),
            debug_session=True,
        ),
        BatchTask(identifier="12", environment=BatchEnvironment(fleet="f"), ignore_failure=True, depend_on=("a",)),
        BatchTask(identifier="c", depend_on=("a",)),
    )
    assert tuple(builds_of(batch)) == batch.tasks


def test_a_fanout_has_as_many_builds_as_it_says() -> None:
    batch = batch_of("build-fanout: {parallelism: 3, ignore-failure: true}")
    assert [task.identifier for task in builds_of(batch)] == [f"BuildFanoutShard{number}" for number in (1, 2, 3)]
    assert all(task.ignore_failure for task in builds_of(batch))


def test_a_matrix_combines_all_of_its_lists_with_what_is_static() -> None:
    batch = batch_of(
        "build-matrix:",
        "  static: {ignore-failure: yes, env: {type: T, privileged-mode: no, variables: {A: 0, S: s}}}",
        "  dynamic:",
        "    buildspec: [one.yml, two.yml]",
        "    env: {compute-type: [BIG], image: ['i:1', 'i:2'], variables: {A: [1, 1.10], B: [NO]}}",
    )
    builds = list(builds_of(batch))
    assert len(builds) == build_count(batch) == 8
    assert builds[1] == BatchTask(
        identifier="A_1_10_B_NO_one_yml_BIG_i_1",
        buildspec="one.yml",
        environment=BatchEnvironment(
            compute_type="BIG",
            image="i:1",
            type="T",
            privileged_mode=False,
            variables={"A": "1.10", "S": "s", "B": "NO"},
        ),
        ignore_failure=True,
    )


def test_a_build_of_a_matrix_keeps_its_name_when_values_come_and_move() -> None:
    def names(values: str) -> set[str]:
        batch = batch_of(f"build-matrix: {{dynamic: {{env: {{variables: {{A: {values}, B: [x]}}}}}}}}")
        return {task.identifier for task in builds_of(batch)}

    assert names("[1, 2]") == {"A_1_B_x", "A_2_B_x"}
    assert names("[3, 2, 1]") > names("[1, 2]")


def test_builds_of_a_matrix_that_would_share_a_name_are_told_apart() -> None:
    batch = batch_of(f"build-matrix: {{dynamic: {{buildspec: [a-b, a_b, '-', {'x' * 200}]}}}}")
    names = [task.identifier for task in builds_of(batch)]
    assert names[0].startswith("a_b_")
    assert names[1].startswith("a_b_")
    assert len({*names}) == 4
    assert max(map(len, names)) == 127


LIST = "build-list:"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("fast-fail: yes",), "batch holds none of build-list, build-graph, build-matrix, build-fanout"),
        (("build-list: [{identifier: a}]", "build-fanout: {parallelism: 2}"), "it needs exactly one of them"),
        (("build-list: []",), "batch.build-list holds no build"),
        (("build-list: {a: b}",), "Expected batch.build-list to be of list type: found subkeys instead"),
        ((LIST, "  - a"), "Expected batch.build-list[0] to be of map type: found a string instead"),
        ((LIST, "  - {buildspec: x}"), "batch.build-list[0] has no `identifier`"),
        ((LIST, "  - identifier: [a]"), "Expected batch.build-list[0].identifier to be of string type"),
        ((LIST, "  - identifier: a-b"), "build identifier `a-b` must contain only alphanumeric characters"),
        ((LIST, f"  - identifier: {'a' * 128}"), "must contain only alphanumeric characters"),
        ((LIST, "  - identifier: a", "  - identifier: a"), "build identifier `a` stands twice: first on line 4"),
        ((LIST, "  - {identifier: a, env: {compute-type: C, fleet: F}}"), "has a compute-type and a fleet"),
        ((LIST, "  - {identifier: a, env: x}"), "Expected batch.build-list[0].env to be of map type"),
        ((LIST, "  - {identifier: a, env: {image: [x]}}"), "env.image to be of string type: found a list"),
        ((LIST, "  - {identifier: a, env: {variables: {A: [x]}}}"), "env.variables.A to be of string type"),
        ((LIST, "  - {identifier: a, ignore-failure: maybe}"), "ignore-failure is neither yes nor no"),
        ((LIST, "  - {identifier: a, debug-session: [x]}"), "debug-session is neither yes nor no"),
        (("fast-fail: 2", "build-list: [{identifier: a}]"), "batch.fast-fail is neither yes nor no"),
        (
            ("build-graph: [{identifier: base}, {identifier: b, depend-on: [bse]}]",),
            "build `b` depends on `bse`, which is no build of this graph; did you mean `base`?",
        ),
        (
            ("build-graph: [{identifier: a, depend-on: b}, {identifier: b, depend-on: [a]}]",),
            "builds wait for each other:",
        ),
        (("build-graph: [{identifier: a, depend-on: [a]}]",), "builds wait for each other: a -> a"),
        (("build-graph: [{identifier: a, depend-on: {b: c}}]",), "depend-on to be of list type: found subkeys"),
        (("build-matrix: {static: {}}",), "batch.build-matrix has no `dynamic`: there is nothing to combine"),
        (("build-matrix: {dynamic: {env: {}}}",), "batch.build-matrix.dynamic holds nothing to combine"),
        (("build-matrix: {dynamic: {env: {image: []}}}",), "batch.build-matrix.dynamic.env.image is empty"),
        (("build-matrix: {dynamic: {env: {variables: {A: }}}}",), "env.variables.A has no values"),
        (("build-matrix: {dynamic: {env: {variables: {A: {b: c}}}}}",), "variables.A to be of list type"),
        (("build-matrix: {dynamic: {buildspec: [[a]]}}",), "buildspec[0] to be of string type"),
        (("build-fanout: {}",), "batch.build-fanout has no `parallelism`"),
        (("build-fanout: {parallelism: 0}",), "batch.build-fanout.parallelism must be a whole number from 1 to 1000"),
        (("build-fanout: {parallelism: 1001}",), "must be a whole number from 1 to 1000"),
        (("build-fanout: {parallelism: 2.5}",), "must be a whole number"),
        (("build-fanout: {parallelism: many}",), "must be a whole number"),
        (("build-fanout: {parallelism: [2]}",), "must be a whole number"),
    ],
)
def test_what_is_wrong_for_a_batch_build_fails_that_one_alone(lines: tuple[str, ...], message: str) -> None:
    (first, *_) = found = mistakes(*lines)
    assert any(message in problem.message for problem in found)
    assert first.line > 1
    assert first.column > 1
    text = with_build("batch:", *(f"  {line}" for line in lines))
    with pytest.raises(BuildspecInvalid) as refused:
        make_batch(text, name="b.yml")
    assert refused.value.code == "BATCH_SPEC_VALIDATION_ERROR"
    assert refused.value.message.startswith("BatchSpec has invalid values.. ")
    plan = plan_of(text)
    assert plan.batch is None
    assert any(message in notice and "(a plain build ignores it)" in notice for notice in plan.notices)


@pytest.mark.parametrize("section", ["", "batch:\n"])
def test_a_batch_build_needs_a_section_batch(section: str) -> None:
    with pytest.raises(BuildspecInvalid, match="the buildspec has no section `batch`") as refused:
        make_batch(f"{section}version: 0.2\nphases: {{}}\n", name="b.yml")
    assert refused.value.code == "BATCH_SPEC_VALIDATION_ERROR"


def test_a_file_that_no_build_can_use_is_no_batch_either() -> None:
    with pytest.raises(BuildspecInvalid) as refused:
        make_batch("version: 9\nbatch: {build-list: []}\nphases: {}\n", name="b.yml")
    assert (refused.value.code, refused.value.message) == ("YAML_FILE_ERROR", "invalid buildspec version")


def test_more_builds_than_a_thousand_are_refused_before_they_are_made() -> None:
    values = ", ".join(map(str, range(101)))
    (problem,) = mistakes(f"build-matrix: {{dynamic: {{buildspec: [{values}], env: {{image: [{values}]}}}}}}")
    assert problem.message == "the batch has 10201 builds: at most 1000 are possible"
    (problem,) = mistakes("build-list:", *(f"  - identifier: a{number}" for number in range(1001)))
    assert problem.message == "the batch has 1001 builds: at most 1000 are possible"


def test_a_log_names_a_few_mistakes_of_a_batch_and_counts_the_rest() -> None:
    plan = plan_of(with_build("batch:", "  build-list:", *("    - {buildspec: x}" for _ in range(9))))
    assert len(plan.notices) == 6
    assert plan.notices[-1] == "4 more mistakes in the section `batch`: see `validate`"


def test_a_circle_is_named_in_the_order_in_which_builds_wait() -> None:
    (problem,) = mistakes(
        "build-graph: [{identifier: a, depend-on: b}, {identifier: b, depend-on: c}, {identifier: c, depend-on: a}]"
    )
    way = problem.message.removeprefix("builds wait for each other: ").split(" -> ")
    assert way[0] == way[-1]
    assert set(pairwise(way)) == {("a", "b"), ("b", "c"), ("c", "a")}


def test_values_that_stand_twice_and_single_texts_are_only_warned_of() -> None:
    text = with_build("batch: {build-matrix: {dynamic: {buildspec: x.yml, env: {image: [a, a, b]}}}}")
    assert build_count(make_batch(text, name="b.yml")) == 2
    assert [problem.message for problem in problems_of(text, "b.yml", batch=True)] == [
        "batch.build-matrix.dynamic.buildspec is a text and counts as a list with that one item",
        "batch.build-matrix.dynamic.env.image holds a value twice, which counts once",
    ]


def test_a_file_of_a_batch_alone_needs_neither_version_nor_phases() -> None:
    text = "batch: {build-list: [{identifier: a, buildspec: a.yml}, {identifier: b, buildspec: b.yml}]}"
    assert build_count(make_batch(text, name="b.yml")) == 2
    assert [problem.message for problem in problems_of(text, "b.yml", batch=True)] == [
        "the batch has no `version`: it is read as version 0.2"
    ]
    assert problems_of(f"version: 0.2\n{text}", "b.yml", batch=True) == []
    (notice,) = plan_of(f"version: 0.2\n{text}").notices
    assert notice == "there are no `phases` but only a `batch`: a plain build of this file runs no command (line 1)"


def test_unknown_keys_of_a_batch_are_listed_and_ignored() -> None:
    plan = plan_of(
        with_build(
            "batch:",
            "  build-graph:",
            "    - {identifier: a, depends-on: b, env: {compute-type: X, git-credential-helper: yes}}",
        )
    )
    assert plan.batch is not None
    assert plan.warnings.splitlines() == [
        "Found possible syntax errors in buildspec: ",
        "In the section batch.build-graph[]",
        "    The following keys cannot be identified:",
        "        depends-on",
        "In the section batch.build-graph[].env",
        "    The following keys cannot be identified:",
        "        git-credential-helper",
    ]
