"""`buildspecd drain`: take no new build, wait for the running ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent.cli.options import ConfigOption

_PAUSE = 1.0
_TIMED_OUT = 1


def drain(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the running builds have ended.")] = True,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="MINUTES", help="Wait no longer than this; exit 1 if builds still run."),
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="Stop the builds that still run after this.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="End a drain: builds are taken again.")] = False,
    config: ConfigOption = None,
) -> None:
    """Tell the daemon to take no new build, and wait for the running ones.

    It stays so, also over a restart, until --cancel. Exit codes: 0 nothing runs any more (or --no-wait), 1 the
    --timeout is over.
    """
    from agent.cli.daemon import client
    from agent.errors import UsageError

    if cancel and (timeout is not None or stop_after is not None):
        raise UsageError("--cancel goes with neither --timeout nor --stop-after")
    daemon = client(config)
    if cancel:
        state = daemon.call("Resume")
        typer.echo("still going away with its host" if state["draining"] else "taking builds again", err=True)
        return
    state = daemon.call("Drain")
    if wait or stop_after is not None:
        state = _wait(daemon, state, timeout, stop_after)
    queued = f"; {state['queued']} queued until drain --cancel" if state["queued"] else ""
    typer.echo(f"draining: {state['running']} running{queued}", err=True)
    if wait and state["running"]:
        raise typer.Exit(_TIMED_OUT)


def _wait(daemon: Any, state: Any, timeout: float | None, stop_after: float | None) -> Any:
    """Return how the daemon stands when nothing runs any more, or when *timeout* minutes are over."""
    from agent.kit.clock import SystemClock
    from agent.kit.service import StopToken

    clock, told, running = SystemClock(), set[str](), None
    begun = clock.monotonic()
    while state["running"]:
        waited = (clock.monotonic() - begun) / 60
        if timeout is not None and waited >= timeout:
            break
        if stop_after is not None and waited >= stop_after:
            _stop_running(daemon, told)
        if state["running"] != running:
            running = state["running"]
            typer.echo(f"waiting for {running} running build{'s' if running > 1 else ''}", err=True)
        clock.wait(_PAUSE, StopToken())
        state = daemon.call("State")
    return state


def _stop_running(daemon: Any, told: set[str]) -> None:
    """Stop what runs, each build once; those that wait in the queue stay there."""
    for build in daemon.call("ListBuildDetails", status="IN_PROGRESS")["builds"]:
        if build["currentPhase"] not in ("SUBMITTED", "QUEUED") and build["id"] not in told:
            told.add(build["id"])
            daemon.call("StopBuild", id=build["id"])
            typer.echo(f"{build['id']} is being stopped", err=True)
