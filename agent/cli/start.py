"""`buildspecd start`: start a build of a project."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.options import ConfigOption, JsonOption, VariableOption, variables
from agent.errors import UsageError


def start(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Name of the project.")],
    source_version: Annotated[
        str | None, typer.Option("--source-version", metavar="V", help="Branch, tag, commit, pr/N or ref^{commit}.")
    ] = None,
    env: VariableOption = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show the log and end with the build's exit code.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Pause where the build runs codebuild-breakpoint.")] = False,
    batch: Annotated[bool, typer.Option("--batch", hidden=True)] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Start a build and print its id, or with --json the build (after the log, if that is followed)."""
    if batch:
        raise UsageError(
            "batch builds are not run by this version of buildspecd",
            hint="without --batch a plain build is started, which ignores the section `batch` of the buildspec",
        )
    from agent.cli.daemon import client

    daemon = client(config)
    given = variables(env or ())
    overrides = [{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in given.items()]
    build = daemon.call(
        "StartBuild",
        projectName=project,
        sourceVersion=source_version,
        environmentVariablesOverride=overrides or None,
        debugSessionEnabled=debug or None,
    )["build"]
    if not follow:
        typer.echo(json.dumps(build) if as_json else build["id"])
        return
    from agent.cli.follow import follow_to_the_end
    from agent.cli.screen import err, summary
    from agent.cli.verdict import exit_code

    typer.echo(f"buildspecd: build {build['buildNumber']} is {build['id']}", err=True)
    ended = follow_to_the_end(daemon, build["id"])
    summary(err(), ended)
    if as_json:
        typer.echo(json.dumps(ended))
    raise typer.Exit(exit_code(ended))
