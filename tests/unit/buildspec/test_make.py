"""Making a plan: what a buildspec says, decided, for every key of the grammar."""

from __future__ import annotations

import time

import pytest

from agent.buildspec.make import problems_of
from agent.buildspec.plan import ArtifactPlan, BatchFanout, BatchPlan, CachePlan, OnFailure, Plan
from agent.model.phase import COMMAND_PHASES, PhaseType
from tests.unit.buildspec.specs import WHOLE, invalid, phase_of, phase_with, plan_of, with_build


def test_every_key_of_the_grammar_reaches_the_plan() -> None:
    plan = plan_of(WHOLE)
    assert (plan.version, plan.location, plan.shell) == ("0.2", "/src/buildspec.yml", "bash")
    assert plan.variables.plain == {
        "A": "$PATH:/x",
        "EMPTY": "",
        "TILDE": "",
        "QUOTED": "~",
        "N": "010",
        "D": "2020-01-01",
    }
    assert plan.variables.parameter_store == {"P": "/app/p"}
    assert plan.variables.secrets_manager == {"S": "arn:aws:secretsmanager:r:1:secret:n-AbCdEf:key::"}
    assert plan.variables.exported == ("A", "P")
    assert plan.variables.git_credential_helper
    assert plan.runtime_versions == {"python": "3.10", "nodejs": "latest"}
    assert plan.artifacts == ArtifactPlan(
        files=("**/*", "dist/*"),
        base_directory="dist",
        exclude_paths=("**/.*",),
        discard_paths=True,
        enable_symlinks=True,
        name="n-$(date +%Y)",
        s3_prefix="p",
    )
    assert plan.secondary_artifacts == (
        ArtifactPlan(identifier="docs", files=("a.txt",), base_directory="$CODEBUILD_SRC_DIR_s1"),
    )
    assert plan.cache == CachePlan(
        paths=("/root/.m2/**/*",), key="k-$(codebuild-hash-files f)", fallback_keys=("k-", "j-"), action="restore"
    )
    assert [report.group for report in plan.reports] == ["unit"]
    assert plan.batch is None
    assert plan.warnings == ""
    assert len(plan.notices) == 1  # exclude-paths is a text where a list is wanted


def test_the_four_phases_come_in_their_order_and_commands_keep_their_text() -> None:
    plan = plan_of(WHOLE)
    assert tuple(phase.phase for phase in plan.phases) == COMMAND_PHASES
    build = phase_of(plan)
    assert build.commands == ("one", "two\nthree\n", "four five")
    assert build.finally_commands == ("six",)
    assert build.on_failure == OnFailure(action="ABORT")


def test_a_phases_own_user_beats_the_files() -> None:
    plan = plan_of(WHOLE)
    assert phase_of(plan, PhaseType.INSTALL).run_as == "other"
    assert phase_of(plan, PhaseType.BUILD).run_as == "top"


def test_phases_are_listed_in_the_files_order_with_their_commands_counted() -> None:
    assert plan_of(WHOLE).listed_phases == ((PhaseType.BUILD, 3), (PhaseType.INSTALL, 0))


def test_the_defaults_are_codebuilds() -> None:
    plan = plan_of(with_build())
    assert plan.shell == "/bin/sh"
    assert phase_of(plan).run_as is None
    assert phase_of(plan).on_failure == OnFailure()
    assert (plan.artifacts, plan.cache, plan.reports, plan.notices) == (None, None, (), ())


def test_a_plan_survives_being_written_and_read_again() -> None:
    plan = plan_of(WHOLE)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_plan_that_an_earlier_version_wrote_can_still_be_read() -> None:
    members = {**plan_of(with_build()).model_dump(mode="json"), "has_batch": True}
    del members["batch"]
    assert Plan.model_validate(members).batch is None


@pytest.mark.parametrize("version", ["0.2", "'0.2'", "0.20", '"0.1"', ".2"])
def test_a_version_may_be_a_number_or_a_string(version: str) -> None:
    assert plan_of(f"version: {version}\nphases: {{}}").version in {"0.1", "0.2"}


@pytest.mark.parametrize("version", ["0.3", "2.0", "", "~", "[0.2]", "v0.2", "sNaN", "0.2.0", "1e-1", "٠.٢"])
def test_any_other_version_is_invalid(version: str) -> None:
    assert invalid(f"version: {version}\nphases: {{}}").message == "invalid buildspec version"


def test_a_missing_version_is_invalid() -> None:
    assert invalid("phases: {build: {commands: [make]}}").message == "invalid buildspec version"
    assert invalid("phases: {}\nbatch: {build-list: [{identifier: a}]}").message == "invalid buildspec version"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "hello", "- a\n", '{"name": "x", "source": {}, "artifacts": {}}', "[]"]
)
def test_what_is_not_shaped_like_a_buildspec_has_the_wrong_container_tags(text: str) -> None:
    assert invalid(text).message == "wrong number of container tags, expected 1"


def test_a_file_without_phases_is_invalid() -> None:
    error = invalid("version: 0.2\nenv: {}\n")
    assert error.message == "phases are missing in the buildspec"
    assert "install, pre_build, build" in error.hint


def test_a_batch_file_without_phases_is_a_plan_that_warns() -> None:
    plan = plan_of("version: 0.2\nbatch: {build-fanout: {parallelism: 2}}\n")
    assert plan.batch == BatchPlan(fanout=BatchFanout(parallelism=2))
    assert plan.listed_phases == ()
    assert "plain build of this file runs no command" in plan.notices[0]


@pytest.mark.parametrize(
    "lines",
    [("phases:",), ("phases: {build: }",), ("phases: {build: {commands: }}",), ("phases: {build: {finally: ~}}",)],
)
def test_an_empty_section_is_as_if_absent(lines: tuple[str, ...]) -> None:
    plan = plan_of("\n".join(("version: 0.2", *lines)))
    assert plan.listed_phases == ()


@pytest.mark.parametrize("key", ["env", "artifacts", "cache", "reports", "batch", "proxy", "run-as"])
def test_an_empty_top_level_section_is_as_if_absent(key: str) -> None:
    assert plan_of(with_build(f"{key}:")) == plan_of(with_build())


def test_numbers_and_booleans_run_as_they_are_written() -> None:
    plan = plan_of(phase_with("commands:", "- 123", "- true", "- NO", "- 1.10", "- ''", "- '~'"))
    assert phase_of(plan).commands == ("123", "true", "NO", "1.10", "", "~")


def test_empty_commands_are_skipped_with_one_warning_a_phase() -> None:
    plan = plan_of(phase_with("commands:", "- a", "-", "- # - b", "- ~", "- c", "finally:", "- ", "- d"))
    assert phase_of(plan).commands == ("a", "c")
    assert phase_of(plan).finally_commands == ("d",)
    assert plan.notices == ("empty commands of phases.build are skipped (line 6)",)


def test_an_empty_command_counts_in_the_index_of_an_error() -> None:
    assert "Commands[1]" in invalid(phase_with("commands:", "-", "- a: b")).message


def test_one_text_counts_as_a_list_with_a_warning() -> None:
    plan = plan_of(phase_with("commands: make all", "finally: |", "  a", "  b", ""))
    assert phase_of(plan).commands == ("make all",)
    assert phase_of(plan).finally_commands == ("a\nb\n",)
    assert plan.notices == (
        "phases.build.commands is a text and counts as a list with that one item (line 4)",
        "phases.build.finally is a text and counts as a list with that one item (line 5)",
    )


@pytest.mark.parametrize(("key", "name"), [("commands", "Commands"), ("finally", "Finally")])
@pytest.mark.parametrize("item", ["echo a: b", "{ echo a; }", "[ a, b ]", "[[ a == b ]]", "!x {a: b}"])
def test_a_command_that_is_no_text_has_codebuilds_words(key: str, name: str, item: str) -> None:
    error = invalid(phase_with(f"{key}:", "  - ok", f"  - {item}"))
    assert error.message == (
        f"Expected {name}[1] to be of string type: found subkeys instead at line 6, "
        "value of the key tag on line 5 might be empty"
    )
    assert "quote the whole command" in error.hint


def test_a_command_in_double_braces_is_no_key() -> None:
    assert invalid(phase_with("commands:", "  - {{ x }}")).message == "invalid map key at line 5"


def test_every_problem_of_a_file_is_reported_at_once_and_the_first_gives_the_message() -> None:
    text = "\n".join(
        (
            "version: 0.2",
            "env: {variables: {A: [b]}}",
            "phases:",
            "  pre-build: {}",
            "  build:",
            "    on-failure: maybe",
            "    commands:",
            "      - a: b",
            "      - c: d",
        )
    )
    error = invalid(text)
    assert error.message == "Expected env.variables.A to be of string type: found a list instead at line 2"
    assert [(problem.line, problem.column, problem.fatal) for problem in error.problems] == [
        (2, 22, True),
        (4, 3, False),
        (6, 17, True),
        (8, 9, True),
        (9, 9, True),
    ]
    assert str(error.problems[0]).startswith("buildspec.yml:2:22: Expected env.variables.A")
    assert problems_of(text, "buildspec.yml") == list(error.problems)


def test_a_valid_file_has_no_problems() -> None:
    assert problems_of(with_build(), "x.yml") == []


def test_a_file_of_2000_lines_is_read_within_50_milliseconds() -> None:
    lines = [f'- echo "hello {number}" && make x{number}' for number in range(2000)]
    text = phase_with("commands:", *lines)
    times = []
    for _ in range(5):
        begin = time.process_time()  # what else runs on this machine does not count
        plan_of(text)
        times.append(time.process_time() - begin)
    assert min(times) < 0.05


@pytest.mark.parametrize(
    ("item", "advice"),
    [
        ("**/*", "begins with * or &"),
        ("&& true", "begins with * or &"),
        ("| a", "begins with | or >"),
        ("`date`", "begins with @, ` or %"),
        ("a: b: c", "holds a colon and a space"),
        ("'a' b", "check the indentation"),
    ],
)
def test_a_syntax_error_comes_with_advice(item: str, advice: str) -> None:
    assert advice in invalid(phase_with("commands:", f"- {item}")).hint
