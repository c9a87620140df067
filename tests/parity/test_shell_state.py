"""Every row of the table in buildspec.md 5.3: what one command leaves to the next, under dash, busybox ash and bash."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import images
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker

SHELLS: dict[str, tuple[Callable[[], str], str]] = {
    "dash": (images.debian_image, "/bin/sh"),
    "ash": (images.busybox_image, "/bin/sh"),
    "bash": (images.debian_image, "bash"),
}

ODD = 'it\'s "q" $HOME `x` \\ \nline two'

GREEN: dict[str, tuple[tuple[str, ...], str]] = {
    "an assignment persists and is exported": (("FOO=bar", "sh -c 'echo $FOO'"), "bar"),
    "quotes and dollars persist intact": (("KEPT=$ODD", 'test "$KEPT" = "$ODD" && echo same'), "same"),
    "exported values of several lines persist": (("export ML='a\n b'", 'echo "$ML" | wc -l'), "2"),
    "cd persists": (("mkdir -p d && cd d", "pwd", 'cd "$CODEBUILD_SRC_DIR"'), "SRC/d"),
    "exit 0 loses the state": (("LOST=1; cd /tmp; exit 0", 'echo "[$LOST] $(pwd)"'), "[] SRC"),
    "options and umask do not persist": (("set -e; set -f; umask 077", "false; umask; echo /et*"), "0022\n/etc"),
    "functions do not persist": (("f() { echo hi; }", "f 2>/dev/null || echo $?"), "127"),
    "aliases do not persist": (("alias ll=ls", "alias ll >/dev/null 2>&1 || echo gone"), "gone"),
    "positional parameters do not persist": (("set -- a b", "echo $#"), "0"),
    "unset of a saved variable persists": (("U=1", "unset U", 'echo "[${U-unset}]"'), "[unset]"),
    "an unset variable of the container comes back": (("unset GIVEN", 'echo "$GIVEN"'), "given"),
    "$? is 0 at the start": (("true", "echo $?"), "0"),
    "a trap on EXIT fires at the end of its command": (
        ("trap 'echo bye' EXIT; echo first", "echo next"),
        "first\nbye\nnext",
    ),
    "a bare continuation harms nobody": (("echo glued \\", "echo next"), "glued\nnext"),
    "a comment and an empty text are green": (("# nothing", "", "echo next"), "next"),
    "a multi-line command has the status of its last line": (("false\ntrue", "echo next"), "true\nnext"),
    "a pipeline has the status of its last stage": (("false | true", "echo next"), "next"),
    "a background job survives its command": (
        (
            "(trap '' HUP; until [ -e stop ]; do :; done; echo done > told) >/dev/null 2>&1 &",
            "touch stop; until [ -s told ]; do :; done; cat told",
        ),
        "done",
    ),
    "wait for the child of another command is refused": (
        ("true & CHILD=$!", "wait $CHILD 2>/dev/null || echo $?"),
        "127",
    ),
    "changes of a subshell stay in it": (("(INNER=1; cd /tmp)", 'echo "[$INNER] $(pwd)"'), "[] SRC"),
    "the last exit is known to the next": (("true", 'echo "$CODEBUILD_LAST_EXIT"'), "0"),
}

READONLY = {"dash": "plain", "ash": "plain", "bash": "readonly"}

BASH: dict[str, tuple[tuple[str, ...], str]] = {
    "arrays do not persist": (("A=(1 2 3)", 'echo "${#A[@]}"'), "0"),
    "associative arrays do not persist": (("declare -A M; M[k]=v", 'echo "[${M[k]-}]"'), "[]"),
    "shopt does not persist": (("shopt -s nullglob", "echo no*such"), "no*such"),
    "pipefail does not persist": (("set -o pipefail", "false | true", "echo next"), "next"),
}


def rows_of(shell: str) -> dict[str, tuple[tuple[str, ...], str]]:
    readonly = ("readonly RO=1", "(RO=2) 2>/dev/null && echo plain || echo readonly")
    rows = {**GREEN, "readonly": (readonly, READONLY[shell])}
    return {**rows, **BASH} if shell == "bash" else rows


def printed(ended: Ended, marks: list[str]) -> dict[str, str]:
    """Return what the commands of each row printed, without the lines of commands that have several."""
    found: dict[str, list[str]] = {}
    row = ""
    for line in ended.output:
        if line in marks:
            row = line
            found[row] = []
        elif row:
            found[row].append(line)
    return {row: "\n".join(lines).replace(ended.source, "SRC") for row, lines in found.items()}


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_command_leaves_to_the_next(site: Site, shell: str) -> None:
    image, program = SHELLS[shell]
    rows = rows_of(shell)
    marks = [f"== {name}" for name in rows]
    commands = [command for name, (row, _) in rows.items() for command in (f"echo '== {name}'", *row)]
    ended = site.build(
        spec(env={"shell": program, "variables": {"GIVEN": "given", "ODD": ODD}}, build=commands), image=image()
    )
    assert ended.status == "SUCCEEDED", ended.log
    wanted = {f"== {name}": text for name, (_, text) in rows.items()}
    wanted["== exported values of several lines persist"] = " b'\n2"  # the second line of the logged command
    assert printed(ended, marks) == wanted


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_failing_command_leaves_behind(site: Site, shell: str) -> None:
    image, program = SHELLS[shell]
    ended = site.build(
        spec(
            env={"shell": program},
            install={"on-failure": "CONTINUE", "commands": ["A=1; cd /tmp; false"], "finally": ['echo "$A $(pwd)"']},
            pre_build={"on-failure": "CONTINUE", "commands": ["B=1; exit 3"], "finally": ['echo "[$B]"']},
            build={"commands": ["C=1\nset -e\nfalse\necho no"], "finally": ['echo "[$C]"']},
            post_build={"commands": ["D=1", "if"], "finally": ['echo "$D $(pwd)"']},
        ),
        image=image(),
    )
    reasons = [ended.context(name)[1].rpartition(". ")[2] for name in ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")]
    assert reasons == [f"Reason: exit status {status}" for status in (1, 3, 1, 2)]
    kept = [line for line in ended.output if line[:1] in "1["]
    assert kept == ["1 /tmp", "[]", "[]", "1 /tmp"]
    assert "no" not in ended.output


@pytest.mark.parametrize("shell", SHELLS)
def test_death_by_signal_is_128_and_the_signal(site: Site, shell: str) -> None:
    image, program = SHELLS[shell]
    ended = site.build(spec(env={"shell": program}, build=["kill -9 $$"]), image=image())
    assert ended.context("BUILD")[1].endswith("Reason: exit status 137")
