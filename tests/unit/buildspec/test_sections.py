"""The sections one by one: their shapes, their defaults, and what is only warned of."""

from __future__ import annotations

import pytest

from agent.buildspec.plan import CachePlan, OnFailure, PhasePlan
from agent.model.phase import PhaseType
from tests.unit.buildspec.specs import invalid, phase_of, phase_with, plan_of, with_build


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_build("env: [a]"), "Expected env to be of map type: found a list instead at line 2"),
        (
            with_build("env: {variables: [A]}"),
            "Expected env.variables to be of map type: found a list instead at line 2",
        ),
        (
            with_build("env:", "  variables:", "    A: {b: c}"),
            "Expected env.variables.A to be of string type: found subkeys instead at line 4",
        ),
        (with_build("env: {shell: [sh]}"), "Expected env.shell to be of string type: found a list instead at line 2"),
        (with_build("env: {parameter-store: {A: }}"), "env.parameter-store.A has no value at line 2"),
        (with_build("run-as: {a: b}"), "Expected run-as to be of string type: found subkeys instead at line 2"),
        (with_build("artifacts: dist"), "Expected artifacts to be of map type: found a string instead at line 2"),
        (
            with_build("artifacts: {files: {a: b}}"),
            "Expected artifacts.files to be of list type: found subkeys instead at line 2",
        ),
        (
            with_build("artifacts: {files: [a, {b: c}]}"),
            "Expected artifacts.files[1] to be of string type: found subkeys instead at line 2",
        ),
        ("version: 0.2\nphases: [a]", "Expected phases to be of map type: found a list instead at line 2"),
        (
            "version: 0.2\nphases: {build: [a]}",
            "Expected phases.build to be of map type: found a list instead at line 2",
        ),
        (
            phase_with("commands: {a: b}"),
            "Expected phases.build.commands to be of list type: found subkeys instead at line 4",
        ),
        (
            phase_with("on-failure: STOP"),
            (
                "invalid on-failure value 'STOP' in phases.build at line 4: it is none of "
                "ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>"
            ),
        ),
    ],
)
def test_a_wrong_shape_that_changes_the_build_is_fatal(text: str, message: str) -> None:
    assert invalid(text).message == message


@pytest.mark.parametrize(
    "line",
    [
        "cache: [a]",
        "cache: {paths: {a: b}}",
        "reports: [a]",
        "batch: [a]",
        "batch: {build-list: [a], build-matrix: [b]}",
        "proxy: x",
        "env: {exported-variables: {a: b}, git-credential-helper: [x]}",
    ],
)
def test_a_wrong_shape_elsewhere_is_ignored_with_a_warning(line: str) -> None:
    plan = plan_of(with_build(line))
    assert phase_of(plan).commands == ("make",)
    assert plan.notices
    assert plan.warnings == ""


@pytest.mark.parametrize("runtimes", ["[python]", "python", "{python: [3]}", "{python: }"])
def test_odd_runtime_versions_choose_nothing(runtimes: str) -> None:
    plan = plan_of(f"version: 0.2\nphases: {{install: {{runtime-versions: {runtimes}}}}}")
    assert plan.runtime_versions == {}


@pytest.mark.parametrize(
    ("word", "meant"), [("yes", True), ("TRUE", True), ("'yes'", True), ("no", False), ("False", False)]
)
def test_a_yes_no_field_knows_both_spellings(word: str, meant: bool) -> None:
    plan = plan_of(with_build(f"env: {{git-credential-helper: {word}}}"))
    assert plan.variables.git_credential_helper is meant
    assert plan.notices == ()


def test_a_yes_no_field_with_another_word_counts_as_no_with_a_warning() -> None:
    plan = plan_of(with_build("env: {git-credential-helper: maybe}"))
    assert not plan.variables.git_credential_helper
    assert plan.notices == ("env.git-credential-helper is neither yes nor no: `maybe` counts as no (line 2)",)


def test_a_name_in_several_maps_stays_in_the_strongest_with_a_warning() -> None:
    plan = plan_of(
        with_build(
            "env:",
            "  variables: {A: 1, B: 2, C: 3}",
            "  parameter-store: {A: /a, B: /b}",
            "  secrets-manager: {A: s}",
        )
    )
    assert plan.variables.plain == {"C": "3"}
    assert plan.variables.parameter_store == {"B": "/b"}
    assert plan.variables.secrets_manager == {"A": "s"}
    assert plan.notices == (
        "variable `A` is also in env.secrets-manager, which wins over env.variables (line 3)",
        "variable `B` is also in env.parameter-store, which wins over env.variables (line 3)",
        "variable `A` is also in env.secrets-manager, which wins over env.parameter-store (line 4)",
    )


def test_names_with_a_catch_are_warned_of() -> None:
    plan = plan_of(
        with_build(
            "env:",
            "  variables:",
            "    'a=b': x",
            "    my.var: y",
            "    CODEBUILD_X: z",
            "    CODEBUILD_CONFIG_AUTO_DISCOVER: 'true'",
        )
    )
    assert sorted(plan.variables.plain) == ["CODEBUILD_CONFIG_AUTO_DISCOVER", "CODEBUILD_X", "my.var"]
    assert plan.notices == (
        "`a=b` cannot be the name of a variable and is ignored (line 4)",
        "variable `my.var` has a name that a shell cannot use and is left out (line 5)",
        "variable `CODEBUILD_X`: names that begin with CODEBUILD_ are reserved (line 6)",
    )


def test_duplicate_keys_and_further_documents_are_warned_of() -> None:
    plan = plan_of(with_build("env: {variables: {A: 1}}", "env: {variables: {A: 2}}") + "\n---\nx: y\n")
    assert plan.variables.plain == {"A": "2"}
    assert plan.notices == (
        "the file holds several documents: only the first is used (line 1)",
        "key `env` stands twice: the one on line 2 is ignored (line 3)",
    )


def test_version_0_1_has_its_own_spelling_of_variables_and_of_artifacts() -> None:
    plan = plan_of(
        "version: 0.1\nenvironment_variables: {plaintext: {A: b, B: old}}\nenv: {variables: {B: new}}\n"
        "phases: {build: {commands: [make]}}\nartifacts: {type: zip, files: [a]}\n"
    )
    assert plan.version == "0.1"
    assert plan.variables.plain == {"A": "b", "B": "new"}
    assert plan.warnings == ""


def test_version_0_1_needs_no_env_section() -> None:
    plan = plan_of("version: 0.1\nenvironment_variables: {plaintext: {A: b}, other: x}\nphases: {}")
    assert plan.variables.plain == {"A": "b"}
    assert "In the section environment_variables" in plan.warnings


def test_version_0_2_does_not_know_the_old_spelling() -> None:
    plan = plan_of(with_build("environment_variables: {plaintext: {A: b}}"))
    assert plan.variables.plain == {}
    assert "        environment_variables" in plan.warnings


def test_more_than_five_fallback_keys_are_cut_with_a_warning() -> None:
    plan = plan_of(with_build("cache: {key: k, paths: [p], fallback-keys: [a, b, c, d, e, f]}"))
    assert plan.cache is not None
    assert plan.cache.fallback_keys == ("a", "b", "c", "d", "e")
    assert plan.notices == ("cache.fallback-keys holds 6 keys: the first 5 are used (line 2)",)


def test_fallback_keys_without_a_key_are_ignored() -> None:
    plan = plan_of(with_build("cache: {paths: p, fallback-keys: [a], action: sometimes}"))
    assert plan.cache == CachePlan(paths=("p",))
    assert len(plan.notices) == 3


def test_an_artifacts_section_without_files_uploads_nothing_of_its_own() -> None:
    plan = plan_of(
        with_build("artifacts: {secondary-artifacts: {s: {files: [a]}, empty: {name: x}, no-dash: {files: b}}}")
    )
    assert plan.artifacts is None
    assert [item.identifier for item in plan.secondary_artifacts] == ["s", "no-dash"]
    assert any("artifacts has no `files`" in notice for notice in plan.notices)
    assert any("`no-dash`: an identifier holds" in notice for notice in plan.notices)


def test_a_windows_shell_is_warned_of() -> None:
    plan = plan_of(with_build("env: {shell: powershell.exe}"))
    assert plan.shell == "powershell.exe"
    assert "shell of Windows" in plan.notices[0]


def test_a_runtime_without_a_version_and_one_with_a_foul_name_are_told_on_one_line() -> None:
    plan = plan_of(
        'version: 0.2\nphases: {install: {runtime-versions: {python: , nodejs: 20, "a\\n[Container] b": [x]}}}'
    )
    assert plan.runtime_versions == {"nodejs": "20"}
    assert plan.notices == (
        "phases.install.runtime-versions.python names no version and is ignored (line 2)",
        (
            "Expected phases.install.runtime-versions.a?[Container] b to be of string type: found a list instead; "
            "it is ignored (line 2)"
        ),
    )


@pytest.mark.parametrize("name", ["unit", "$GROUP", "${A}-b_1", "arn:aws:codebuild:r:1:report-group/web-unit"])
@pytest.mark.parametrize("format", ["JUNITXML", "nunit3xml", " SimpleCov "])
def test_a_report_group_with_a_name_and_a_format_is_right(name: str, format: str) -> None:
    plan = plan_of(with_build(f"reports: {{'{name}': {{files: ['**/*'], file-format: '{format}'}}}}"))
    assert (plan.reports[0].group, plan.reports[0].file_format) == (name, format.strip().upper())
    assert plan.notices == ()


@pytest.mark.parametrize(
    ("group", "notice"),
    [
        (
            "unit: {files: [a], file-format: HTML}",
            "reports.unit.file-format `HTML` is no format of reports; the",
        ),
        ("unit: {files: [a], file-format: junit-xml}", "is no format of reports; did you mean JUNITXML?"),
        ("unit: {file-format: JUNITXML}", "reports.unit has no `files`: it can report nothing"),
        ("unit: {files: []}", "reports.unit has no `files`"),
        ("unit tests: {files: [a]}", "`unit tests`: the name of a report group holds letters, digits"),
        ("'$(date)': {files: [a]}", "`$(date)`: the name of a report group holds"),
    ],
)
def test_what_is_wrong_with_a_report_group_is_warned_of(group: str, notice: str) -> None:
    plan = plan_of(with_build(f"reports: {{{group}}}"))
    assert len(plan.notices) == 1
    assert notice in plan.notices[0]
    assert len(plan.reports) == 1


def test_more_than_five_report_groups_are_warned_of_at_the_sixth() -> None:
    plan = plan_of(with_build("reports:", *(f"  g{number}: {{files: [a]}}" for number in range(7))))
    assert plan.notices == ("reports names 7 groups: CodeBuild takes 5 of a project (line 8)",)
    assert len(plan.reports) == 7


def test_merge_keys_build_a_phase() -> None:
    plan = plan_of(
        "version: 0.2\nx: &x {on-failure: CONTINUE, commands: [a]}\nphases: {build: {<<: *x, commands: [b]}}"
    )
    assert phase_of(plan) == PhasePlan(phase=PhaseType.BUILD, commands=("b",), on_failure=OnFailure(action="CONTINUE"))
