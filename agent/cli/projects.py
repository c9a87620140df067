"""`buildspecd projects`: what the daemon may build, and whether the files that say so are right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.imports import import_
from agent.cli.options import ConfigOption, JsonOption
from agent.cli.plaintext import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.app.looks import Look
    from agent.errors import Problem
    from agent.model.project import Project
    from agent.settings.schema import Settings

_INVALID = 2

app = typer.Typer(help="List, show, check and import projects.", no_args_is_help=True)
app.command("import")(import_)


@app.command("list")
def list_(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the projects of the daemon, with their last builds and with the mistakes in their files."""
    found, followed = _states(config), _followed(config)
    if as_json:
        typer.echo(json.dumps({"projects": found, **({"configSource": followed} if followed else {})}))
        return
    from agent.cli import screen

    screen.table(screen.out(), ("PROJECT", "SOURCE", "LAST BUILD", "", "FILE"), (_row(state) for state in found))
    for state in found:
        for problem in state["problems"]:
            typer.echo(plain(problem), err=True)
    for line in _standing(followed) if followed else ():
        typer.echo(plain(line), err=True)


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
    from agent.cli.screen import coloured, moment, out, status_of

    console = out()
    console.print(plain(name), style="bold")
    console.print(f"file: {plain(state['file'])}")
    for problem in state["problems"]:
        console.print(f"problem: {plain(problem)}", style="red")
    if last := state.get("lastBuild"):
        console.print("last build: ", coloured(status_of(last)), f" {plain(last['id'])}", sep="")
    for run in state.get("nextRuns", ()):
        when = moment(run["at"]) if run["at"] is not None else "never"
        console.print(plain(f"next run: {when}  rule/{run['name']} ({run['expression']}, {run['timezone']})"))
    if "project" in state:
        # With indentation and in the members of the project file, so that it can be compared with it.
        console.print(plain(json.dumps(state["project"], indent=2, ensure_ascii=False)))


@app.command()
def check(
    sources: Annotated[bool, typer.Option("--sources", help="Look whether each source opens, too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check the settings and every project file, without a daemon. Exit code 0, or 2 if one is invalid.

    With --sources also whether each source opens with its credential (one look); one that does not is exit code 2.
    """
    from agent.cli.validate import as_object, fatal, print_problems

    problems, names, settings, projects = _checked(config)
    looks = _looks(settings, projects) if sources and settings else []
    if as_json:
        document = {"valid": not fatal(problems), "projects": names, "problems": [as_object(item) for item in problems]}
        typer.echo(json.dumps({**document, **({"sources": [asdict(look) for look in looks]} if sources else {})}))
    else:
        print_problems(problems)
        for look in looks:
            remedy = f"\n  {look.hint}" if look.hint else ""
            typer.echo(plain(f"{look.project}: {look.trouble or f'{look.place} opens'}{remedy}"), err=True)
        typer.echo(f"{len(names)} project{'' if len(names) == 1 else 's'}: {', '.join(names) or 'none'}", err=True)
        if names and not sources:
            typer.echo("whether their sources open is looked at by `buildspecd projects check --sources`", err=True)
    raise typer.Exit(_INVALID if fatal(problems) or any(look.trouble for look in looks) else 0)


@app.command("invalidate-cache")
def invalidate_cache(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the project.")], config: ConfigOption = None
) -> None:
    """Let the next build of a project start without what its caches hold now."""
    from agent.cli.daemon import client

    client(config).call("InvalidateProjectCache", projectName=name)


def _checked(config: Path | None) -> tuple[list[Problem], list[str], Settings | None, Mapping[str, Project]]:
    """Return every problem of the settings and project files, and the projects that are right, with their names."""
    from agent.errors import SettingsInvalid
    from agent.settings.load import load_settings, settings_file
    from agent.settings.projects import load_projects

    try:
        loaded = load_settings(settings_file(config))
    except SettingsInvalid as error:
        return list(error.problems), [], None, {}
    found = load_projects(loaded.settings.projects_dir)
    return [*loaded.warnings, *found.problems], sorted(found.projects), loaded.settings, found.projects


def _looks(settings: Settings, projects: Mapping[str, Project]) -> list[Look]:
    from agent.app.looks import look_at_sources

    return look_at_sources(settings, projects)


def _states(config: Path | None) -> list[dict[str, Any]]:
    from agent.cli.daemon import client

    states: list[dict[str, Any]] = client(config).call("GetProjects")["projects"]
    return states


def _followed(config: Path | None) -> dict[str, Any] | None:
    """Return how the daemon stands with the repository of its configuration, None where there is none."""
    from agent.cli.daemon import client

    state: dict[str, Any] | None = client(config).call("State").get("config")
    return state


def _standing(followed: dict[str, Any]) -> Iterator[str]:
    """Yield which commit of the configuration holds, which one does not, and why."""
    held = f"revision {followed['revision'][:12]} holds" if followed["revision"] else "no revision holds yet"
    yield f"configuration: {held}, of {followed['url']}"
    if followed["refused"]:
        yield f"configuration: revision {followed['refused'][:12]} is refused:"
        yield from followed["problems"]
    if followed["trouble"]:
        yield f"configuration: {followed['trouble']}"


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
