"""`buildspecd show`: all about one build."""

from __future__ import annotations

import json

import typer

from agent.cli.options import BuildArgument, ConfigOption, JsonOption


def show(build: BuildArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one build: its phases, why it failed, what its reports say, where its log and its artifacts are."""
    from agent.cli.daemon import client

    daemon = client(config)
    found = daemon.build(build)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from agent.cli.screen import build_page, out

    build_page(out(), found, daemon.reports(found))
