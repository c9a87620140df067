"""`buildspecd doctor`: what is wrong with this host, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from agent.cli.options import ConfigOption, JsonOption

_BROKEN = 3


def doctor(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check this host and print what is wrong, with the command that mends it. Exit code 0, or 3 if a check fails."""
    from agent.app.check import check_host
    from agent.settings.load import settings_file

    checks = check_host(settings_file(config))
    broken = any(check.status == "fail" for check in checks)
    if as_json:
        typer.echo(json.dumps({"healthy": not broken, "checks": [asdict(check) for check in checks]}))
    else:
        from agent.cli.plaintext import plain
        from agent.cli.screen import coloured, out, table

        console = out()
        table(console, ("", "CHECK", ""), ((coloured(item.status), item.name, item.message) for item in checks))
        for item in checks:
            if item.status != "ok" and item.remedy:
                console.print(plain(f"\n{item.name}: {item.remedy}"), markup=False)
    raise typer.Exit(_BROKEN if broken else 0)
