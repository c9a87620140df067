"""`buildspecd stop`: end a build."""

from __future__ import annotations

import typer

from agent.cli.options import BuildArgument, ConfigOption


def stop(build: BuildArgument, config: ConfigOption = None) -> None:
    """Stop a build; one that has ended stays as it is."""
    from agent.cli.daemon import client

    daemon = client(config)
    found = daemon.build(build)
    if found["buildComplete"]:
        typer.echo(f"{found['id']} has ended already: {found['buildStatus']}", err=True)
        return
    daemon.call("StopBuild", id=found["id"])
    typer.echo(f"{found['id']} is being stopped", err=True)
