"""Cases 1 to 16 of buildspec.md, section 16, as far as they are pure parsing; each test bears its number."""

from __future__ import annotations

import pytest

from agent.buildspec.location import INLINE_LOCATION, buildspec_missing, classify
from agent.buildspec.make import make_plan
from agent.buildspec.plan import PhasePlan, Plan
from agent.errors import BuildspecInvalid
from agent.model.phase import PhaseType

SRC = "/codebuild/output/src1/src"


def plan_of(text: str) -> Plan:
    return make_plan(text, name="buildspec.yml", location=f"{SRC}/buildspec.yml")


def build_phase(plan: Plan) -> PhasePlan:
    return next(phase for phase in plan.phases if phase.phase is PhaseType.BUILD)


def message_for(text: str) -> str:
    with pytest.raises(BuildspecInvalid) as caught:
        plan_of(text)
    assert caught.value.code == "YAML_FILE_ERROR"
    return caught.value.message


def spec_with(*lines: str) -> str:
    return "\n".join(("version: 0.2", *lines, "phases: {build: {commands: ['echo a']}}", ""))


def test_case_01_a_missing_default_buildspec_has_codebuilds_words() -> None:
    kind, name = classify("")
    assert (kind, name) == ("default", "buildspec.yml")
    error = buildspec_missing(f"{SRC}/{name}", default=True)
    assert (error.code, error.message) == ("YAML_FILE_ERROR", "YAML file does not exist")


def test_case_02_a_missing_named_buildspec_names_its_path() -> None:
    kind, path = classify("ci/x.yml")
    assert kind == "path"
    error = buildspec_missing(f"{SRC}/{path}", default=False)
    assert (error.code, error.message) == ("YAML_FILE_ERROR", f"stat {SRC}/ci/x.yml: no such file or directory")


def test_case_03_buildspec_yaml_is_not_looked_for() -> None:
    assert classify(None) == ("default", "buildspec.yml")


def test_case_04_a_command_that_is_a_mapping_has_codebuilds_words() -> None:
    text = 'version: 0.2\n\nphases:\n  build:\n    commands:\n      - echo "Hello: world"\n'
    assert message_for(text) == (
        "Expected Commands[0] to be of string type: found subkeys instead at line 6, "
        "value of the key tag on line 5 might be empty"
    )


def test_case_05_the_same_command_in_quotes_runs() -> None:
    plan = plan_of("version: 0.2\nphases:\n  build:\n    commands:\n      - 'echo \"Hello: world\"'\n")
    assert build_phase(plan).commands == ('echo "Hello: world"',)


def test_case_06_an_unquoted_brace_is_a_type_error() -> None:
    message = message_for("version: 0.2\nphases:\n  build:\n    commands:\n      - { echo a; }\n")
    assert message.startswith("Expected Commands[0] to be of string type: found subkeys instead at line 5")


def test_case_07_a_tab_cannot_start_a_token() -> None:
    message = message_for("version: 0.2\nphases:\n\tbuild:\n")
    assert message == "found character that cannot start any token at line 3"


def test_case_08_artifacts_type_is_an_unknown_key_and_only_warns() -> None:
    plan = plan_of(spec_with("artifacts:", "  type: zip", "  files: ['**/*']"))
    assert plan.warnings == (
        "Found possible syntax errors in buildspec: \n"
        "In the section artifacts\n"
        "    The following keys cannot be identified:\n"
        "        type"
    )
    assert plan.artifacts is not None
    assert plan.artifacts.files == ("**/*",)


def test_case_09_an_unknown_phase_warns_and_does_not_run() -> None:
    plan = plan_of("version: 0.2\nphases:\n  test:\n    commands: [echo no]\n  build:\n    commands: [echo yes]\n")
    assert "In the section phases\n    The following keys cannot be identified:\n        test" in plan.warnings
    assert plan.listed_phases == ((PhaseType.BUILD, 1),)
    assert not any("echo no" in phase.commands for phase in plan.phases)


def test_case_10_json_is_a_buildspec_and_is_inline() -> None:
    text = '{"version": "0.2", "phases": {"build": {"commands": ["echo a", "echo \\"b: c\\""]}}}'
    assert classify(text) == ("inline", text)
    assert INLINE_LOCATION == "/codebuild/readonly/buildspec.yml"
    assert build_phase(plan_of(text)).commands == ("echo a", 'echo "b: c"')


def test_case_11_the_version_may_be_a_string() -> None:
    assert plan_of('version: "0.2"\nphases: {build: {commands: [a]}}').version == "0.2"


def test_case_12_the_variable_no_stays_no() -> None:
    assert plan_of(spec_with("env: {variables: {FLAG: NO}}")).variables.plain == {"FLAG": "NO"}


def test_case_13_the_variable_1_10_keeps_its_zero() -> None:
    assert plan_of(spec_with("env: {variables: {V: 1.10}}")).variables.plain == {"V": "1.10"}


def test_case_14_crlf_leaves_no_carriage_return_in_a_block() -> None:
    lines = (
        "version: 0.2",
        "phases:",
        "  build:",
        "    commands:",
        "      - |",
        "        echo a",
        "        echo b",
        "",
    )
    assert build_phase(plan_of("\r\n".join(lines))).commands == ("echo a\necho b\n",)


def test_case_15_an_anchor_is_resolved_and_its_holder_warned_of() -> None:
    plan = plan_of("version: 0.2\nx-common: &c [echo a]\nphases:\n  build:\n    commands: *c\n")
    assert build_phase(plan).commands == ("echo a",)
    assert "        x-common" in plan.warnings


def test_case_16_no_commands_at_all_is_a_plan_with_no_listed_phase() -> None:
    plan = plan_of("version: 0.2\nphases: {build: {commands: []}}\n")
    assert plan.listed_phases == ()
    assert plan.warnings == ""
