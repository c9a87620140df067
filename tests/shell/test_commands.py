"""Cases 17 to 35 and 52 of buildspec.md, and section 5.3, with the real driver under three shells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shell.harness import SHELLS, HostBuild, phase


@pytest.fixture(params=SHELLS)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> HostBuild:
    return HostBuild(tmp_path, request.param)


def test_case_17_an_assigned_variable_is_exported_to_later_commands(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "FOO=bar", "sh -c 'echo $FOO'")).text == "bar"


def test_case_18_the_directory_lasts_into_the_next_phase(build: HostBuild) -> None:
    ran = build.run(phase("INSTALL", "mkdir d && cd d"), phase("BUILD", "pwd"))
    assert ran.text == f"{build.source}/d"


def test_case_19_a_function_does_not_last(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "f() { echo hi; }", "f")).statuses == [0, 127]


def test_case_20_set_e_does_not_last(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "set -e", "false\necho after"))
    assert ran.text.endswith("\nafter")
    assert ran.statuses == [0, 0]


def test_case_21_a_failure_inside_a_block_is_masked(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "false\ntrue\n")).statuses == [0]


def test_case_22_set_e_ends_its_block(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "set -e\nfalse\ntouch no\n"))
    assert ran.statuses == [1]
    assert not (build.source / "no").exists()


def test_case_23_exit_loses_the_state_of_its_command(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "cd /tmp; X=1; exit 0", 'echo "[$X] $(pwd)"'))
    assert ran.text == f"[] {build.source}"


def test_case_24_a_failed_command_keeps_its_variables(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "X=1; false", finally_=("echo $X",)))
    assert ran.text == "1"
    assert "Phase complete: BUILD State: FAILED" in ran.lines


def test_case_25_a_pipeline_has_the_status_of_its_last_part(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "false | true")).statuses == [0]


def test_case_26_errors_name_line_four(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "no-such-command-x"))
    wording = {"dash": "4: {}: not found", "ash": "line 4: {}: not found", "bash": "line 4: {}: command not found"}
    assert ran.text == f"{build.scratch}/script.sh: {wording[build.shell].format('no-such-command-x')}"
    assert ran.statuses == [127]


def test_case_29_a_dot_follows_the_command_in_the_message(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "test x = ."))
    assert ran.lines[-2].endswith("Message: Error while executing command: test x = .. Reason: exit status 1")


def test_case_32_an_exit_status_is_told(build: HostBuild) -> None:
    assert "Command did not exit successfully exit 3 exit status 3" in build.run(phase("BUILD", "exit 3")).lines


def test_case_33_version_0_1_starts_every_command_afresh(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "cd /tmp; X=1", 'echo "$(pwd) [$X]"'), isolated=True)
    assert ran.text == f"{build.source} []"


def test_version_0_1_still_knows_whether_the_build_succeeds(build: HostBuild) -> None:
    plan = (phase("BUILD", "false"), phase("POST_BUILD", "echo $CODEBUILD_BUILD_SUCCEEDING"))
    assert build.run(*plan, isolated=True).text == "0"


def test_case_35_the_last_exit_is_known(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "echo $CODEBUILD_LAST_EXIT", finally_=("echo $CODEBUILD_LAST_EXIT",)))
    assert ran.text == "0\n0"


def test_the_last_exit_of_a_failed_command_is_known_to_finally(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "(exit 9)", finally_=("echo $CODEBUILD_LAST_EXIT",))).text == "9"


def test_case_52_a_literal_path_replaces_the_path(build: HostBuild) -> None:
    build.variables = {"PATH": "$PATH:/x"}
    ran = build.run(phase("BUILD", 'echo "$PATH"', "git --version"), phase("POST_BUILD", "echo still here"))
    assert ran.text.splitlines()[0] == "$PATH:/x"
    assert ran.statuses == [0, 127, 0]
    assert ran.text.endswith("still here")


def test_values_of_any_kind_last_intact(build: HostBuild) -> None:
    value = 'it\'s "quoted" $HOME `x` \\ and\nanother line\tä'
    build.variables = {"GIVEN": value}
    commands = ('MADE="$GIVEN"', 'printf "%s|%s" "$GIVEN" "$MADE" > seen')
    build.run(phase("BUILD", *commands))
    assert (build.source / "seen").read_text() == f"{value}|{value}"


@pytest.mark.parametrize("name", ["with space", "it's", "a$b`c", "line\nbreak", "-dash", "ende\n", "äö", 'q"q'])
def test_directories_of_any_name_last(build: HostBuild, name: str) -> None:
    directory = build.source / name
    directory.mkdir()
    build.variables = {"NAME": name}
    build.run(phase("BUILD", 'cd -- "./$NAME"', "echo x > here"))
    assert (directory / "here").exists()


def test_a_directory_that_vanished_is_told_and_the_command_runs(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "mkdir gone && cd gone && rmdir ../gone", "echo on"))
    assert ran.text.endswith("on")


@pytest.mark.parametrize(
    ("command", "status"),
    [("", 0), ("# only a comment", 0), ("if", 2), ("echo end \\", 0), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
def test_odd_commands_have_the_status_of_a_shell(build: HostBuild, command: str, status: int) -> None:
    ran = build.run(phase("BUILD", "KEPT=1", command, finally_=("echo $KEPT",)))
    assert ran.statuses[1] == status
    assert ran.text.endswith("1")


def test_options_traps_and_masks_do_not_last(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "umask 077; set -f; trap 'echo bye' EXIT", "umask; echo /et*"))
    assert ran.text == "bye\n0022\n/etc"


def test_noclobber_does_not_keep_the_state_from_being_saved(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "set -C; X=1", "echo $X")).text == "1"


def test_a_strange_field_separator_harms_only_its_owner(build: HostBuild) -> None:
    build.variables = {"IFS": "0123456789/"}
    ran = build.run(phase("BUILD", "IFS=/0123456789", "(exit 42)"), phase("POST_BUILD", "echo on"))
    assert ran.statuses == [0, 42, 0]


def test_commands_have_empty_standard_input(build: HostBuild) -> None:
    assert build.run(phase("BUILD", "cat; echo done")).text == "done"


def test_no_file_of_the_driver_stays_open_in_a_command(build: HostBuild) -> None:
    look = "for fd in 3 4 5 6 7 8 9; do test ! -e /proc/self/fd/$fd || echo open: $fd; done"
    assert build.run(phase("BUILD", look)).text == ""


def test_a_name_that_is_the_shells_own_is_harmless(build: HostBuild) -> None:
    build.variables = {"UID": "77", "PPID": "1", "SHELLOPTS": "x", "bd_phase": "x", "plan_shell": "/bin/false"}
    ran = build.run(phase("BUILD", "echo fine"))
    assert "fine" in ran.text
    assert ran.statuses == [0]


def test_the_images_own_variables_reach_the_commands(build: HostBuild) -> None:
    build.environ = {**build.environ, "FROM_IMAGE": "yes", "GOPATH": "/go"}
    ran = build.run(phase("BUILD", 'echo "$FROM_IMAGE $HOME $GOPATH ${PATH##*:}"'), gopath="/codebuild/output/src1")
    assert ran.text == "yes /root /go:/codebuild/output/src1 /codebuild/user/bin"


def test_the_environment_file_is_gone_when_the_first_command_runs(build: HostBuild) -> None:
    build.variables = {"SECRET": "s3cret"}
    build.run(phase("BUILD", f"ls {build.secrets} > seen; cat /proc/1/environ > one"))
    assert (build.source / "seen").read_text() == ""
    assert b"s3cret" not in (build.source / "one").read_bytes()
    assert not any(
        (build.control / name).read_bytes().count(b"s3cret") for name in ("plan.sh", "journal", "driver.log")
    )
