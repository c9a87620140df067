"""`buildspecd torture`: real builds under random kills and faults, then an audit of every promise."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import JsonOption

_VIOLATED = 3
_NOTICE = "buildspecd: the faults end now, what is open is settled and audited; press Ctrl-C again to leave at once"


def torture(
    minutes: Annotated[
        float, typer.Option("--minutes", "-m", min=0.1, max=1440, help="How long faults are done.")
    ] = 5.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Which faults come when; else a new one, which the report tells."),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", "-i", help="Image of the builds; needs sh and awk. Else busybox.")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=1, metavar="MINUTES", help="How long all that is open may take to end afterwards.")
    ] = 15.0,
    directory: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Where its directory is made; else the system's for such."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the evidence, also when every promise was kept.")] = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", dir_okay=False, help="Write the report there, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove on this host that builds outlive anything: faults of some 50 kinds, then an audit.

    It runs a daemon of its own, in directories of its own, with an AWS-shaped server and git repositories of its own,
    and real containers on this host's engine; nothing else is touched. Exit code 0: every promise was kept; 3: one was
    not, and the evidence is kept.
    """
    from agent.cli.signals import stopping_on_signals
    from agent.kit.service import StopToken
    from agent.torture import report
    from agent.torture.run import Order, default_image, torture

    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    order = Order(chosen, minutes, image or default_image(), settle * 60, directory, keep)
    stop = StopToken()
    with stopping_on_signals(stop, _NOTICE):
        result = torture(order, stop, _Teller(minutes).say)
    if markdown is not None:
        markdown.write_text(report.markdown(result), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report.as_document(result)))
    else:
        from agent.cli.plaintext import plain

        typer.echo(plain(report.text(result)))
    raise typer.Exit(0 if result.kept else _VIOLATED)


class _Teller:
    """Says how far it is: on a terminal on one line that changes, else once a minute."""

    def __init__(self, minutes: float) -> None:
        from agent.kit.clock import SystemClock

        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._minutes = minutes
        self._said = -60.0

    def say(self, what: str) -> None:
        """Say *what*."""
        import sys

        passed = self._clock.monotonic() - self._began
        line = f"{int(passed) // 60}:{int(passed) % 60:02} of {self._minutes:g} min: {what}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line[:150]}")
            sys.stderr.flush()
        elif passed - self._said >= 60:
            self._said = passed
            typer.echo(line, err=True)
