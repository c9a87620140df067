"""`buildspecd drain`: take no new build, wait for the running ones."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.options import ConfigOption

_PAUSE = 1.0


def drain(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the running builds have ended.")] = True,
    config: ConfigOption = None,
) -> None:
    """Tell the daemon to take no new build, and wait for the running ones. A restart makes it take builds again."""
    from agent.cli.daemon import client
    from agent.kit.clock import SystemClock
    from agent.kit.service import StopToken

    daemon = client(config)
    state = daemon.call("Drain")
    running = None
    while wait and state["running"]:
        if state["running"] != running:
            running = state["running"]
            typer.echo(f"waiting for {running} running build{'s' if running > 1 else ''}", err=True)
        SystemClock().wait(_PAUSE, StopToken())
        state = daemon.call("State")
    queued = f"; {state['queued']} queued for after the restart" if state["queued"] else ""
    typer.echo(f"draining: {state['running']} running{queued}", err=True)
