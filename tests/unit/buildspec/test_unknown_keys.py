"""Unknown keys: CodeBuild's block for the log, and what their author probably meant."""

from __future__ import annotations

import pytest

from agent.buildspec.make import make_plan, problems_of


def warnings_of(text: str) -> str:
    return make_plan(text, name="buildspec.yml", location="/src/buildspec.yml").warnings


def test_each_section_has_its_block_and_phases_their_name_in_capitals() -> None:
    text = """
version: 0.2
Name: x
phases:
  build: {env: a, command: b, commands: [make]}
  pre_build: {env: a}
reports: {unit: {file: x}}
cache: {path: x}
"""
    assert warnings_of(text).splitlines() == [
        "Found possible syntax errors in buildspec: ",
        "In the section buildspec",
        "    The following keys cannot be identified:",
        "        Name",
        "In the section BUILD",
        "    The following keys cannot be identified:",
        "        env",
        "        command",
        "In the section PRE_BUILD",
        "    The following keys cannot be identified:",
        "        env",
        "In the section cache",
        "    The following keys cannot be identified:",
        "        path",
        "In the section reports.unit",
        "    The following keys cannot be identified:",
        "        file",
    ]


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("phases: {pre-build: x}", "did you mean `pre_build`?"),
        ("phases: {postbuild: x}", "did you mean `post_build`?"),
        ("phases: {installs: x}", "did you mean `install`?"),
        ("phases: {build: {finaly: x}}", "did you mean `finally`?"),
        ("phases: {build: {Commands: x}}", "did you mean `commands`?"),
        ("phases: {install: {runtime-verions: x}}", "did you mean `runtime-versions`?"),
        ("phases: {build: {runtime-versions: x}}", "it belongs under `phases.install`"),
        ("phases: {artifacts: x}", "it belongs at the top level"),
        ("build: x", "it belongs under `phases`"),
        ("commands: x", "it belongs under a phase"),
        ("variables: x", "it belongs under the top-level `env`"),
        ("cache: {path: x}", "did you mean `paths`?"),
        ("artifacts: {discard_paths: x}", "did you mean `discard-paths`?"),
        ("env: {compute-type: x}", "it belongs in the project, or under `env` of a batch task"),
        ("environment_variables: x", "it belongs in version 0.1; write `env.variables`"),
        ("environment_variabls: x", "it belongs in version 0.1; write `env.variables`"),
        ("env: {NODE_OPTIONS: x}", "a variable belongs under `variables`"),
        ("env: {IMAGE: x}", "a variable belongs under `variables`"),
        ("env: {SHELL: x}", "did you mean `shell`?"),
        ("env: {privileged: x}", "it belongs in the project"),
        ("artifacts: {files: [a], exclude: x}", "did you mean `exclude-paths`?"),
        ("artifacts: {files: [a], packaging: x}", "where artifacts go is said in the project"),
        ("phases: {deploy: x}", "only install, pre_build, build and post_build are run"),
        ("phases: {build_jar: x}", "only install, pre_build, build and post_build are run"),
        ("phases: {install: {}, install-root: x}", "only install, pre_build, build and post_build are run"),
        ("phases: {build: {comments: [a]}}", "did you mean `commands`?"),
        ("batch: {build-list: [{identifier: a, depend-on: [b]}]}", "it belongs under a task of `batch.build-graph`"),
        ("batch: {build-list: [{identifier: a, env: {LEVEL: b}}]}", "a variable belongs under `variables`"),
        ("debug-session: x", "it belongs under a task of `batch`"),
    ],
)
def test_a_misspelt_or_misplaced_key_gets_a_suggestion(line: str, guess: str) -> None:
    text = f"version: 0.2\n{line}\n" + ("" if line.startswith("phases") else "phases: {}\n")
    messages = [problem.message for problem in problems_of(text, "x") if problem.message.startswith("unknown key")]
    assert len(messages) == 1
    assert messages[0].endswith(f"is ignored; {guess}")


def test_a_key_that_resembles_nothing_gets_no_suggestion() -> None:
    (problem,) = problems_of("version: 0.2\nx-anchors: {}\nphases: {}\n", "x")
    assert problem.message == "unknown key `x-anchors` at the top level is ignored"
    assert not problem.fatal


def test_the_same_mistake_in_many_builds_of_a_batch_is_told_once_in_the_log() -> None:
    tasks = "".join(f"    - {{identifier: b{number}, env: {{LEVEL: x}}}}\n" for number in range(50))
    text = f"version: 0.2\nphases: {{}}\nbatch:\n  build-list:\n{tasks}"
    assert warnings_of(text).splitlines()[1:] == [
        "In the section batch.build-list[].env",
        "    The following keys cannot be identified:",
        "        LEVEL",
    ]
    assert sum("LEVEL" in problem.message for problem in problems_of(text, "x")) == 50


@pytest.mark.parametrize("line", ["name: x", "os_version: x", "key: x", "Version: 0.2", "eb_codebuild_settings: {}"])
def test_no_guess_is_better_than_a_wrong_one(line: str) -> None:
    (problem,) = problems_of(f"version: 0.2\n{line}\nphases: {{}}\n", "x")[:1]
    assert problem.message.endswith("at the top level is ignored")


def test_a_key_that_is_there_is_not_what_another_one_meant() -> None:
    text = "version: 0.2\nphases: {build: {commands: [make], comments: [it]}}\n"
    (problem,) = problems_of(text, "x")
    assert problem.message == "unknown key `comments` in phases.build is ignored"


def test_the_type_of_artifacts_is_known_as_a_key_of_old() -> None:
    (problem,) = problems_of("version: 0.2\nphases: {build: {}}\nartifacts: {type: zip, files: [a]}\n", "x")
    assert problem.message.endswith("it is a key of version 0.1; whether artifacts become a ZIP is said in the project")


def test_suggestions_are_not_in_the_log() -> None:
    assert "mean" not in warnings_of("version: 0.2\nphases: {pre-build: x}\n")


def test_a_key_cannot_forge_log_lines_or_terminal_codes() -> None:
    text = 'version: 0.2\nphases: {}\n"a\\n[Container] forged\\e[31m": x\n'
    assert "        a?[Container] forged?[31m" in warnings_of(text).splitlines()


def test_a_flood_of_mistakes_is_cut() -> None:
    text = "version: 0.2\nphases: {}\n" + "".join(f"k{number}: x\n" for number in range(20_000))
    assert len(problems_of(text, "x")) == 200
    assert len(warnings_of(text).splitlines()) == 203


def test_a_flood_of_warnings_hides_no_fatal_problem() -> None:
    text = "version: 0.2\n" + "".join(f"k{number}: x\n" for number in range(300)) + "phases: []\n"
    assert any(problem.fatal for problem in problems_of(text, "x"))
