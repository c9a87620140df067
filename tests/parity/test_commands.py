"""Cases 17 to 35 of buildspec.md, section 16, and section 5, as whole builds in real containers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import images
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker

SCRIPT = "/codebuild/output/tmp/script.sh"


@pytest.fixture(scope="module")
def lasting(fresh_site: Callable[..., Site]) -> Ended:
    """One build for the cases that succeed and do not disturb each other; `== n` marks where each begins."""
    return fresh_site().build(
        spec(
            install=["mkdir d && cd d"],
            build=[
                "pwd",
                'cd "$CODEBUILD_SRC_DIR"; echo == 17',
                "FOO=bar",
                "sh -c 'echo $FOO'",
                "echo == 20",
                "set -e",
                "false\necho after\n",
                "echo == 21",
                "false\ntrue\n",
                "echo == 23",
                "cd /tmp; X=1; exit 0",
                'echo "[$X] $(pwd)"',
                "echo == 25",
                "false | true",
                'echo "$CODEBUILD_LAST_EXIT"',
            ],
        )
    )


def part(ended: Ended, case: int) -> list[str]:
    """Return what the commands of *case* printed."""
    rest = ended.output[ended.output.index(f"== {case}") + 1 :]
    ends = [index for index, line in enumerate(rest) if line.startswith("== ")]
    return rest[: ends[0]] if ends else rest


def test_case_17_a_plain_assignment_is_exported_to_later_commands(lasting: Ended) -> None:
    assert part(lasting, 17) == ["bar"]


def test_case_18_the_directory_lasts_into_the_next_phase(lasting: Ended) -> None:
    assert lasting.output[0] == f"{lasting.source}/d"


def test_case_19_a_function_does_not_last(site: Site) -> None:
    ended = site.build(spec(build=["f() { echo hi; }", "f"]))
    assert ended.context("BUILD") == (
        "COMMAND_EXECUTION_ERROR",
        "Error while executing command: f. Reason: exit status 127",
    )


def test_case_20_set_e_does_not_last(lasting: Ended) -> None:
    assert part(lasting, 20) == ["echo after", "after"]


def test_case_21_a_failure_inside_a_block_is_masked(lasting: Ended) -> None:
    assert lasting.status == "SUCCEEDED"
    assert part(lasting, 21) == ["true"]  # the second line of the command, as it was logged


def test_case_22_set_e_ends_its_block(site: Site) -> None:
    ended = site.build(spec(build=["set -e\nfalse\necho no\n"]))
    assert ended.context("BUILD")[1] == "Error while executing command: set -e\nfalse\necho no\n. Reason: exit status 1"
    assert "no" not in ended.output


def test_case_23_exit_loses_the_state_of_its_command(lasting: Ended) -> None:
    assert part(lasting, 23) == [f"[] {lasting.source}"]


def test_case_24_a_failed_command_keeps_its_variables_for_finally(site: Site) -> None:
    ended = site.build(spec(build={"commands": ["X=1; false"], "finally": ["echo $X"]}))
    assert ended.output == ["1"]
    assert ended.bad_phases == {"BUILD": "FAILED"}


def test_case_25_a_pipeline_has_the_status_of_its_last_part(lasting: Ended) -> None:
    assert part(lasting, 25) == ["0"]


def test_case_26_double_brackets_fail_in_the_default_shell_of_debian(site: Site) -> None:
    ended = site.build(spec(build=["[[ a == a ]]"]), image=images.debian_image())
    assert ended.output == [f"{SCRIPT}: 4: [[: not found"]
    assert ended.context("BUILD")[1] == "Error while executing command: [[ a == a ]]. Reason: exit status 127"


def test_case_27_double_brackets_succeed_when_bash_is_asked_for(site: Site) -> None:
    ended = site.build(spec(env={"shell": "bash"}, build=["[[ a == a ]]"]), image=images.debian_image())
    assert ended.status == "SUCCEEDED"


def test_case_28_bash_words_a_missing_command_its_own_way(site: Site) -> None:
    ended = site.build(spec(env={"shell": "bash"}, build=["PWDX"]), image=images.debian_image())
    assert ended.output == [f"{SCRIPT}: line 4: PWDX: command not found"]
    assert ended.context("BUILD")[1].endswith("Reason: exit status 127")


def test_case_29_a_dot_follows_the_command_in_the_message(site: Site) -> None:
    ended = site.build(spec(build=["test docker = ."]))
    reason = "Error while executing command: test docker = .. Reason: exit status 1"
    start = ended.lines.index("Command did not exit successfully test docker = . exit status 1")
    assert ended.lines[start : start + 6] == [
        "Command did not exit successfully test docker = . exit status 1",
        "Phase complete: BUILD State: FAILED",
        f"Phase context status code: COMMAND_EXECUTION_ERROR Message: {reason}",
        "Entering phase POST_BUILD",
        "Phase complete: POST_BUILD State: SUCCEEDED",
        "Phase context status code:  Message: ",
    ]


def test_case_30_an_image_with_a_user_of_its_own_still_builds_as_root(site: Site, image_of_another_user: str) -> None:
    ended = site.build(spec(build=["id -u", "echo started"]), image=image_of_another_user)
    assert ended.output == ["0", "started"]


@pytest.mark.parametrize("image", [images.busybox_image, images.debian_image])
def test_case_31_the_user_of_a_phase_beats_that_of_the_file(site: Site, image: Callable[[], str]) -> None:
    make = "grep -q ^u1: /etc/passwd || useradd -m u1; echo u2:x:1002:1002::/home/u2:/bin/sh >> /etc/passwd"
    who = 'echo "$(whoami) $HOME"; echo x >> made-by-$(whoami)'
    ended = site.build(
        spec(
            run_as="u1",
            install={"run-as": "root", "commands": [make, "whoami"]},
            pre_build={"run-as": "u2", "commands": [who, "KEPT=1"], "finally": ["whoami"]},
            build=[who, "echo $KEPT"],
            post_build={"commands": ["ls -l made-by-u1 | cut -c1-10"], "run-as": "u2"},
        ),
        image=image(),
    )
    assert ended.status == "SUCCEEDED"
    assert ended.output == ["root", "u2 /home/u2", "u2", "u1 /home/u1", "1", "-rw-r--r--"]


def test_a_user_that_is_not_in_the_image_fails_the_phase(site: Site) -> None:
    ended = site.build(spec(build={"run-as": "nobody-here", "commands": ["echo never"]}))
    assert ended.bad_phases == {"BUILD": "FAILED"}
    assert "nobody-here" in ended.context("BUILD")[1]
    assert "never" not in ended.output


def test_case_32_an_exit_status_is_told(site: Site) -> None:
    assert "Command did not exit successfully exit 3 exit status 3" in site.build(spec(build=["exit 3"])).lines


def test_case_33_version_0_1_starts_every_command_afresh(site: Site) -> None:
    ended = site.build("version: 0.1\nphases: {build: {commands: [cd /tmp, pwd]}}")
    assert ended.output == [ended.source]


def test_case_34_version_0_1_has_its_variables_under_plaintext(site: Site) -> None:
    ended = site.build(
        "version: 0.1\nenvironment_variables: {plaintext: {A: b}}\nenv: {variables: {C: d}}\n"
        "phases: {build: {commands: ['echo $A $C']}}\nartifacts: {type: zip, files: [x]}"
    )
    assert ended.output == ["b d"]
    assert "possible syntax errors" not in ended.log


def test_case_35_the_last_exit_after_a_success_is_0(site: Site) -> None:
    ended = site.build(
        spec(
            build={
                "commands": ["true", 'echo "$CODEBUILD_LAST_EXIT"', "(exit 9)"],
                "finally": ["echo $CODEBUILD_LAST_EXIT"],
            }
        )
    )
    assert ended.output == ["0", "9"]


def test_commands_have_no_terminal_an_empty_input_and_one_log(site: Site) -> None:
    ended = site.build(
        spec(
            build=[
                "test -t 0 || test -t 1 || test -t 2 || echo no terminal",
                "cat; echo nothing came",
                "for i in 1 2 3; do echo out $i; echo err $i >&2; done",
                'echo "$HOME"; pwd; echo "${PATH##*:}"',
            ]
        )
    )
    merged = [f"{stream} {number}" for number in (1, 2, 3) for stream in ("out", "err")]
    here = ["/root", ended.source, "/codebuild/user/bin"]
    assert ended.output == ["no terminal", "nothing came", *merged, *here]


def test_a_shell_that_the_image_lacks_is_a_mistake_in_the_buildspec(site: Site) -> None:
    ended = site.build(spec(env={"shell": "zsh"}, build=["echo never"]))
    assert ended.status == "FAILED"
    assert "never" not in ended.output
    assert ended.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    assert ended.context("DOWNLOAD_SOURCE")[0] == "YAML_FILE_ERROR"
    assert "zsh" in ended.context("DOWNLOAD_SOURCE")[1]


def test_an_image_without_a_shell_is_found_dead(site: Site, image_without_shell: str) -> None:
    ended = site.build(spec(build=["echo never"]), image=image_without_shell)
    assert ended.status == "FAILED"
    (phase,) = ended.bad_phases
    assert ended.context(phase)[1].startswith("Build container found dead before completing the build")
