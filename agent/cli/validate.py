"""`buildspecd validate`: every problem of buildspec files, with its place."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from agent.cli.options import JsonOption
from agent.cli.plaintext import plain

if TYPE_CHECKING:
    from agent.errors import Problem

_INVALID = 2
_DEFAULT = "buildspec.yml"
_STDIN = "-"


def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Files to check; a directory stands for the buildspec.yml in it, - for standard input.",
            show_default=_DEFAULT,
        ),
    ] = None,
    as_json: JsonOption = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a buildspec, for editors, and check nothing.")
    ] = False,
) -> None:
    """Check buildspec files; print every problem as FILE:LINE:COLUMN: MESSAGE.

    Exit code 0, or 2 if a file is invalid: for a plain build, or for a batch build of it where it has a batch.
    """
    if schema:
        _print_schema()
        return
    chosen = [_file_of(file) for file in files or [Path(_DEFAULT)]]
    found = {str(file): problems_of_file(file) for file in chosen}
    problems = [problem for several in found.values() for problem in several]
    if as_json:
        checked = [{"file": name, "valid": not fatal(several)} for name, several in found.items()]
        document = {"valid": not fatal(problems), "files": checked, "problems": [as_object(item) for item in problems]}
        typer.echo(json.dumps(document))
    else:
        print_problems(problems)
        typer.echo(_verdict(found), err=True)
    raise typer.Exit(_INVALID if fatal(problems) else 0)


def problems_of_file(file: Path) -> list[Problem]:
    """Return every problem of one buildspec file; that it cannot be read is one too. `-` is standard input."""
    from agent.buildspec.make import problems_of
    from agent.errors import Problem

    try:
        if str(file) == _STDIN:
            text = _beginning(sys.stdin.buffer)
        else:
            with file.open("rb") as stream:
                text = _beginning(stream)
    except OSError as error:
        return [Problem(str(file), 0, 0, f"cannot be read: {error.strerror}")]
    return problems_of(text, str(file), batch=True)


def print_problems(problems: Sequence[Problem]) -> None:
    """Print problems one a line on standard output, those that change nothing marked as warnings."""
    from rich.text import Text

    from agent.cli.screen import out

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name, or a key, may be in no encoding of ours
    console = out()  # colours on a terminal only, and only where NO_COLOR is not set
    for item in problems:
        place = f"{item.file}:{item.line}:{item.column}:"
        mark = "" if item.fatal else " warning:"
        console.print(Text.assemble((plain(place), "bold"), (mark, "yellow"), " ", plain(item.message)), soft_wrap=True)


def as_object(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON: file, line, column, message, severity."""
    document = asdict(problem)
    document["severity"] = "error" if document.pop("fatal") else "warning"
    return document


def fatal(problems: Sequence[Problem]) -> bool:
    """Whether one of *problems* makes its file unusable."""
    return any(problem.fatal for problem in problems)


def _print_schema() -> None:
    from agent.buildspec.schema import buildspec_schema

    typer.echo(json.dumps(buildspec_schema(), indent=2, ensure_ascii=False))


def _file_of(given: Path) -> Path:
    """Return the file that is meant: a directory is a source tree, as it is to `buildspecd run`."""
    try:
        return given / _DEFAULT if given.is_dir() else given
    except OSError:
        return given  # whoever opens it says why not


def _beginning(stream: BinaryIO) -> bytes:
    """Return what *stream* holds, and of one that never ends enough to see that it is too long."""
    from agent.kit.marked_yaml import Limits

    return stream.read(Limits().max_bytes + 1)


def _verdict(found: dict[str, list[Problem]]) -> str:
    """Return one line about all files."""
    problems = [problem for several in found.values() for problem in several]
    if not problems:
        return f"{plain(', '.join(found))}: ok"
    errors = sum(problem.fatal for problem in problems)
    counts = (_count(errors, "error"), _count(len(problems) - errors, "warning"))
    return f"{' and '.join(counts)} in {_count(len(found), 'file')}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
