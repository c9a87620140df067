"""`buildspecd validate`: every problem of buildspec files, with its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import JsonOption
from agent.cli.plaintext import plain

if TYPE_CHECKING:
    from agent.errors import Problem

_INVALID = 2
_DEFAULT = "buildspec.yml"


def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Files to check.", show_default=_DEFAULT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check buildspec files; print every problem as FILE:LINE:COLUMN: MESSAGE. Exit code 0, or 2 if one is invalid."""
    chosen = files or [Path(_DEFAULT)]
    problems = [problem for file in chosen for problem in problems_of_file(file)]
    if as_json:
        typer.echo(json.dumps({"valid": not fatal(problems), "problems": [as_object(item) for item in problems]}))
    else:
        print_problems(problems)
        if not problems:
            typer.echo(f"{plain(', '.join(map(str, chosen)))}: ok", err=True)
    raise typer.Exit(_INVALID if fatal(problems) else 0)


def problems_of_file(file: Path) -> list[Problem]:
    """Return every problem of one buildspec file; that it cannot be read is one too."""
    from agent.buildspec.make import problems_of
    from agent.errors import Problem

    try:
        text = file.read_bytes()
    except OSError as error:
        return [Problem(str(file), 0, 0, f"cannot be read: {error.strerror}")]
    return problems_of(text, str(file))


def print_problems(problems: Sequence[Problem]) -> None:
    """Print problems one a line on standard output, those that change nothing marked as warnings."""
    for item in problems:
        mark = "" if item.fatal else "warning: "
        typer.echo(plain(f"{item.file}:{item.line}:{item.column}: {mark}{item.message}"))


def as_object(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON: file, line, column, message, severity."""
    document = asdict(problem)
    document["severity"] = "error" if document.pop("fatal") else "warning"
    return document


def fatal(problems: Sequence[Problem]) -> bool:
    """Whether one of *problems* makes its file unusable."""
    return any(problem.fatal for problem in problems)
