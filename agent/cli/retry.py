"""`buildspecd retry`: the same build once more."""

from __future__ import annotations

import typer

from agent.cli.options import BuildArgument, ConfigOption


def retry(build: BuildArgument, config: ConfigOption = None) -> None:
    """Start a build with the parameters of an old one, and print its id."""
    from agent.cli.daemon import client

    daemon = client(config)
    typer.echo(daemon.call("RetryBuild", id=daemon.build(build)["id"])["build"]["id"])
