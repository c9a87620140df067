"""`buildspecd stop`: end a build."""

from __future__ import annotations

import json

import typer

from agent.cli.options import BuildArgument, ConfigOption, JsonOption


def stop(build: BuildArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Stop a build; one that has ended stays as it is. --json prints the build as it stands."""
    from agent.cli.daemon import client

    daemon = client(config)
    found = daemon.build(build)
    if found["buildComplete"]:
        typer.echo(f"{found['id']} has ended already: {found['buildStatus']}", err=True)
    else:
        found = daemon.call("StopBuild", id=found["id"])["build"]
        typer.echo(f"{found['id']} is being stopped", err=True)
    if as_json:
        typer.echo(json.dumps(found))
