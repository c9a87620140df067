"""`buildspecd guard`: keeps builds from the metadata service of this host, and with it from the host's role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.container.imds import Verdict

_BROKEN = 3


def guard(
    once: Annotated[
        bool, typer.Option("--once", help="Put the rules in place, say whether they hold, and end.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the rules away.")] = False,
) -> None:
    """Keep builds from the credentials of this host: rules of the firewall, looked after every minute. Needs root.

    The rules stay when this ends; --remove takes them away. Exit code 0, or 3 if builds can reach the metadata service.
    """
    from agent.app.guarding import lift_guard, stand_guard
    from agent.cli.signals import stopping_on_signals
    from agent.kit.service import StopToken

    if remove:
        lift_guard()
        return
    said: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        said.append(verdict)
        typer.echo(verdict.problem or "builds cannot reach the metadata service", err=not verdict.holds)

    stop = StopToken()
    with stopping_on_signals(stop):
        stand_guard(stop, once=once, tell=tell)
    if once and not said[-1].holds:
        raise typer.Exit(_BROKEN)
