"""`buildspecd projects import`: build projects of CodeBuild's become project files of this agent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import ConfigOption
from agent.cli.plaintext import plain
from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.settings.importing.found import Found
    from agent.settings.importing.project import Imported

_FILE_MODE = 0o640
"""Not for everybody: variables of CodeBuild's projects hold secrets more often than they should."""


def import_(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Projects of CodeBuild's, by name or ARN.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Take every project of the account and region.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Read the answer of `aws codebuild batch-get-projects` instead."),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option("--template", metavar="FILE", help="Read a CloudFormation template, JSON or YAML, instead."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A value for the template: of a parameter, of AWS::Region, of a resource or Resource.Attribute.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the projects and write no file.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where the files go; else projects_dir.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write a project file for each project, with a comment at everything that you must decide.

    Exit code 0; 2, and no file at all, where something cannot be read or a file would be written over.
    """
    from agent.settings.importing.project import imported

    given = _parameters(parameter or [], template)
    found = _found(names or [], file, template, given, everything=everything, config=config)
    made = sorted((imported(one) for one in found), key=lambda one: one.name)
    _refuse_twice(made)
    if stdout:
        _print(made)
    else:
        _write(made, _directory(output, config), force=force)
    for one in made:
        for problem in one.problems:
            typer.echo(f"warning: {plain(problem)}", err=True)


def _parameters(given: list[str], template: Path | None) -> dict[str, str]:
    if given and template is None:
        raise UsageError("--parameter goes with --template", hint="give --template FILE as well")
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--parameter {text}: expected NAME=VALUE")
        found[name] = value
    return found


def _found(
    names: list[str],
    file: Path | None,
    template: Path | None,
    given: dict[str, str],
    *,
    everything: bool,
    config: Path | None,
) -> list[Found]:
    """Return what the one origin that was named holds; of a file, the projects called *names*."""
    from agent.settings.importing.answer import projects_in_answer
    from agent.settings.importing.template import projects_in_template

    if file and template:
        raise UsageError("--file and --template exclude each other", hint="import from one of them at a time")
    if everything and (names or file or template):
        raise UsageError("--all stands alone", hint="a file is taken whole; names pick from it")
    if file or template:
        found = projects_in_answer(file) if file else projects_in_template(template, given) if template else []
        return _picked(found, names)
    if not names and not everything:
        raise UsageError("say what to import", hint="NAME..., --all, --file FILE or --template FILE")
    from agent.app.imports import ask_codebuild

    return ask_codebuild(config, names)


def _picked(found: list[Found], names: list[str]) -> list[Found]:
    known = [str(one.members.get("name", "")) for one in found]
    for name in names:
        if name not in known:
            raise UsageError(f"no project {name!r} is in it", hint=f"there are: {', '.join(known) or 'none'}")
    return [one for one in found if not names or str(one.members.get("name", "")) in names]


def _refuse_twice(made: list[Imported]) -> None:
    for before, after in pairwise(made):
        if before.name == after.name:
            raise UsageError(f"two of the projects are called {after.name}", hint="import them one at a time")


def _directory(output: Path | None, config: Path | None) -> Path:
    from agent.settings.load import load_settings, settings_file

    directory = output or load_settings(settings_file(config)).settings.projects_dir
    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}", hint="make it, or name another one by --output")
    return directory


def _write(made: list[Imported], directory: Path, *, force: bool) -> None:
    from agent.kit.files import write_atomic

    targets = [directory / f"{one.name}.yml" for one in made]
    there = [target.name for target in targets if target.exists() or target.is_symlink()]
    if there and not force:
        raise UsageError(
            f"{directory} has {', '.join(there)} already; nothing was written", hint="--force writes over them"
        )
    for one, target in zip(made, targets, strict=True):
        try:
            write_atomic(target, one.text.encode(), mode=_FILE_MODE)
        except OSError as error:
            raise UsageError(
                f"{target} cannot be written: {error.strerror}", hint="--output DIR names another"
            ) from error
        decide = f"{one.to_decide} thing{'' if one.to_decide == 1 else 's'} to decide"
        typer.echo(f"{plain(target)}: {decide if one.to_decide else 'nothing to decide'}")


def _print(made: list[Imported]) -> None:
    from agent.settings.importing.writing import as_item

    for one in made:
        typer.echo(one.text if len(made) == 1 else as_item(one.text), nl=False)
