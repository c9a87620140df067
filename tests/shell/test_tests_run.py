"""`codebuild-tests-run`: which files are whose, and that their names are never code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.shell.commands import SHELLS, Commands

HOSTILE = ["$(touch pwned)", "-x", "; touch pwned", "a b", "it's", '"', "`touch pwned`", "*"]
SHOW = 'for one; do printf "<%s>" "$one"; done; :'


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(tmp_path_factory.mktemp("commands"))


def shard(
    commands: Commands,
    names: Sequence[str],
    place: Path,
    *options: str,
    shell: str = "dash",
    command: str = "printf '%s\\n'",
    number: int | None = None,
    of: int = 1,
) -> tuple[int, str, str]:
    """Run one shard; return exit status, output, and what was said on standard error."""
    (place / "list").write_text("".join(f"{name}\n" for name in names))
    variables = {} if number is None else {"CODEBUILD_CURRENT_SHARD": str(number), "CODEBUILD_TOTAL_SHARDS": str(of)}
    words = ["--files-search", "cat list", "--test-command", command, *options]
    done = commands.run(shell, "codebuild-tests-run", *words, cwd=place, environ=variables)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def shards(commands: Commands, names: Sequence[str], place: Path, of: int, *options: str, shell: str = "dash"):
    """Return the files of each shard."""
    found = [shard(commands, names, place, *options, number=number, of=of, shell=shell) for number in range(1, of + 1)]
    assert {code for code, _, _ in found} == {0}
    return [out.splitlines() for _, out, _ in found]


@pytest.mark.parametrize("shell", SHELLS)
def test_equal_distribution_cuts_the_sorted_names_into_even_pieces(
    commands: Commands, tmp_path: Path, shell: str
) -> None:
    names = ["g", "b", "a", "B", "d", "c", "e"]
    assert shards(commands, names, tmp_path, 3, shell=shell) == [["B", "a", "b"], ["c", "d"], ["e", "g"]]
    assert shards(commands, names[:2], tmp_path, 3, shell=shell) == [["b"], ["g"], []]


def test_without_a_fan_out_there_is_one_shard_with_all_files(commands: Commands, tmp_path: Path) -> None:
    assert shard(commands, ["b", "a", "", "b"], tmp_path)[1] == "a\nb\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_names_reach_the_test_command_as_words_and_never_as_code(
    commands: Commands, tmp_path: Path, shell: str
) -> None:
    code, out, _ = shard(commands, HOSTILE, tmp_path, shell=shell, command="printf '<%s>' --\n \n")
    assert (code, out) == (0, "<-->" + "".join(f"<{name}>" for name in sorted(HOSTILE)))
    used = "printf '%s' \"$CODEBUILD_CURRENT_SHARD_FILES\""
    assert shard(commands, HOSTILE, tmp_path, shell=shell, command=used)[1] == "\n".join(sorted(HOSTILE))
    assert not (tmp_path / "pwned").exists()


def test_the_variable_holds_the_files_also_where_they_are_appended(commands: Commands, tmp_path: Path) -> None:
    command = 'sh -c \'printf "%s|%s" "$(env | grep -c ^CODEBUILD_CURRENT)" "$#"\' sh'
    assert shard(commands, ["a", "b"], tmp_path, command=command)[1] == "1|2"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_status_is_that_of_the_test_command(commands: Commands, tmp_path: Path, shell: str) -> None:
    assert shard(commands, ["a"], tmp_path, shell=shell, command="exit 5; :")[0] == 5
    assert shard(commands, ["a"], tmp_path, shell=shell, command="kill -9 $$; :")[0] in (-9, 137)


def test_an_empty_shard_says_so_and_succeeds(commands: Commands, tmp_path: Path) -> None:
    code, out, said = shard(commands, ["a"], tmp_path, command="exit 9 #", number=2, of=2)
    assert (code, out) == (0, "")
    assert "shard 2 of 2: 0 of 1 files" in said


def test_what_makes_no_sense_is_refused(commands: Commands, tmp_path: Path) -> None:
    assert shard(commands, [], tmp_path)[0] == 1  # green without a single test would be a lie
    assert shard(commands, ["a"], tmp_path, "--sharding-strategy", "dice")[0] == 2
    assert shard(commands, ["a"], tmp_path, "--what")[0] == 2
    assert shard(commands, ["a"], tmp_path, number=3, of=2)[0] == 2
    assert shard(commands, ["a"], tmp_path, "--files-search=exit 4")[0] == 1
    assert commands.run("dash", "codebuild-tests-run", "--test-command", "true").returncode == 2


def test_more_names_than_a_variable_holds_still_reach_the_command(commands: Commands, tmp_path: Path) -> None:
    names = [f"{index:05}{'n' * 60}" for index in range(3000)]
    assert shard(commands, names, tmp_path, command="sh -c 'echo $#' sh")[1] == "3000\n"
    used = "printf '%s\\n' \"$CODEBUILD_CURRENT_SHARD_FILES\" | wc -l"
    assert shard(commands, names, tmp_path, command=used)[1].strip() == "3000"


def test_the_user_s_locale_is_that_of_the_build(commands: Commands, tmp_path: Path) -> None:
    words = ["--files-search", "echo a", "--test-command", 'echo "${LC_ALL-unset}"; :']
    assert commands.run("bash", "codebuild-tests-run", *words).stdout == b"unset\n"
    german = commands.run("bash", "codebuild-tests-run", *words, environ={"LC_ALL": "POSIX"})
    assert german.stdout == b"POSIX\n"


STABLE = ("--sharding-strategy", "stability")
NAMES = [f"tests/{kind}/test_{index}.py" for index in range(60) for kind in ("unit", "api")]


def places(commands: Commands, names: Sequence[str], place: Path, of: int, shell: str = "dash") -> dict[str, int]:
    pieces = shards(commands, names, place, of, *STABLE, shell=shell)
    assert sorted(name for piece in pieces for name in piece) == sorted(names)
    return {name: number for number, piece in enumerate(pieces) for name in piece}


def test_stability_keeps_every_file_where_it_is_when_another_one_comes(commands: Commands, tmp_path: Path) -> None:
    before = places(commands, NAMES, tmp_path, 4)
    after = places(commands, [*NAMES, "tests/a_new_one.py", "zzz"], tmp_path, 4)
    assert {name: after[name] for name in before} == before
    assert min(list(before.values()).count(number) for number in range(4)) >= 15  # 30 each on average


def test_stability_moves_only_what_a_new_shard_takes_over(commands: Commands, tmp_path: Path) -> None:
    before, after = places(commands, NAMES, tmp_path, 3), places(commands, NAMES, tmp_path, 4)
    moved = [name for name in NAMES if before[name] != after[name]]
    assert {after[name] for name in moved} == {3}
    assert len(moved) < len(NAMES) * 0.4


def test_all_shells_agree_on_whose_a_file_is(commands: Commands, tmp_path: Path) -> None:
    names = [*NAMES[:12], "über.py", "a b", "$x", "back\\slash", "*", "?"]
    by_dash = places(commands, names, tmp_path, 3)
    assert places(commands, names, tmp_path, 3, "bash") == by_dash
    assert places(commands, names, tmp_path, 3, "ash") == by_dash
