"""`buildspecd projects`: what the daemon may build, and whether the files that say so are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import ConfigOption, JsonOption
from agent.cli.plaintext import plain

if TYPE_CHECKING:
    from agent.errors import Problem

_INVALID = 2

app = typer.Typer(help="List, show and check projects.", no_args_is_help=True)


@app.command("list")
def list_(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the projects of the daemon, with their last builds and with the mistakes in their files."""
    found = _states(config)
    if as_json:
        typer.echo(json.dumps({"projects": found}))
        return
    from agent.cli import screen

    screen.table(screen.out(), ("PROJECT", "SOURCE", "LAST BUILD", "", "FILE"), (_row(state) for state in found))
    for state in found:
        for problem in state["problems"]:
            typer.echo(plain(problem), err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the project.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one project."""
    from agent.errors import ProjectUnknown

    state = next((state for state in _states(config) if state["name"] == name), None)
    if state is None:
        raise ProjectUnknown(f"there is no project {name!r}", hint="`buildspecd projects list` shows them all")
    if as_json:
        typer.echo(json.dumps(state))
        return
    from agent.cli.screen import coloured, out, status_of

    console = out()
    console.print(plain(name), style="bold")
    console.print(f"file: {plain(state['file'])}")
    for problem in state["problems"]:
        console.print(f"problem: {plain(problem)}", style="red")
    if last := state.get("lastBuild"):
        console.print("last build: ", coloured(status_of(last)), f" {plain(last['id'])}", sep="")
    if "project" in state:
        # With indentation and in the members of the project file, so that it can be compared with it.
        console.print(plain(json.dumps(state["project"], indent=2, ensure_ascii=False)))


@app.command()
def check(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check the settings and every project file, without a daemon. Exit code 0, or 2 if one is invalid."""
    from agent.cli.validate import as_object, fatal, print_problems

    problems, names = _checked(config)
    if as_json:
        document = {"valid": not fatal(problems), "projects": names, "problems": [as_object(item) for item in problems]}
        typer.echo(json.dumps(document))
    else:
        print_problems(problems)
        typer.echo(f"{len(names)} project{'' if len(names) == 1 else 's'}: {', '.join(names) or 'none'}", err=True)
    raise typer.Exit(_INVALID if fatal(problems) else 0)


@app.command("invalidate-cache")
def invalidate_cache(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the project.")], config: ConfigOption = None
) -> None:
    """Let the next build of a project start without what its caches hold now."""
    from agent.cli.daemon import client

    client(config).call("InvalidateProjectCache", projectName=name)


def _checked(config: Path | None) -> tuple[list[Problem], list[str]]:
    """Return every problem of the settings and project files, and the names of the projects that are right."""
    from agent.errors import SettingsInvalid
    from agent.settings.load import load_settings, settings_file
    from agent.settings.projects import load_projects

    try:
        loaded = load_settings(settings_file(config))
    except SettingsInvalid as error:
        return list(error.problems), []
    found = load_projects(loaded.settings.projects_dir)
    return [*loaded.warnings, *found.problems], sorted(found.projects)


def _states(config: Path | None) -> list[dict[str, Any]]:
    from agent.cli.daemon import client

    states: list[dict[str, Any]] = client(config).call("GetProjects")["projects"]
    return states


def _row(state: dict[str, Any]) -> tuple[object, ...]:
    from agent.cli import screen

    source, last = state.get("project", {}).get("source", {}), state.get("lastBuild")
    return (
        state["name"],
        source.get("location", source.get("type", "")),
        screen.coloured("INVALID" if "project" not in state else screen.status_of(last) if last else "never built"),
        screen.moment(last["startTime"]) if last else "",
        state["file"],
    )
