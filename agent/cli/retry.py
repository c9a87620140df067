"""`buildspecd retry`: the same build once more."""

from __future__ import annotations

import json

import typer

from agent.cli.options import BuildArgument, ConfigOption, JsonOption


def retry(build: BuildArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Start a build with the parameters of an old one, and print its id, or with --json the new build."""
    from agent.cli.daemon import client

    daemon = client(config)
    again = daemon.call("RetryBuild", id=daemon.build(build)["id"])["build"]
    typer.echo(json.dumps(again) if as_json else again["id"])
