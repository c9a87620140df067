"""`buildspecd doctor`: what is wrong with this host, and the command or policy statement that mends it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from agent.app.check import Check

_BROKEN = 3
_WORDS = ("fail", "warn", "ok", "skipped")
_NAMED = 3


def doctor(
    project: Annotated[
        list[str] | None,
        typer.Option(
            "--project", "-p", metavar="NAME", help="Of the projects, look at this one only. May be repeated."
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check this host, and print what is wrong with the command or policy statement that mends it.

    Exit code 0 when nothing fails (there may be warnings), 3 when a check fails, 2 when it was asked wrongly.
    """
    from agent.settings.load import settings_file

    checks = _checked(settings_file(config), project or (), quiet=as_json)
    broken = any(check.status == "fail" for check in checks)
    if as_json:
        typer.echo(json.dumps({"healthy": not broken, "counts": _counts(checks), "checks": [*map(asdict, checks)]}))
    else:
        from agent.cli.screen import out

        _show(out(), checks)
    raise typer.Exit(_BROKEN if broken else 0)


def _checked(config: Any, only: Sequence[str], *, quiet: bool) -> list[Check]:
    """Look at everything; on a terminal what is still waited for stands in a line that goes away."""
    from agent.app.check import Progress, check_host
    from agent.cli.plaintext import plain
    from agent.cli.screen import err

    console = err()
    if quiet or not console.is_terminal:
        return check_host(config, only)
    with console.status("looking") as line:

        def told(names: Sequence[str]) -> None:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            line.update(plain(f"waiting for {', '.join(dict.fromkeys(names[:_NAMED]))}{more}"))

        return check_host(config, only, Progress(told))


def _show(console: Console, checks: Sequence[Check]) -> None:
    from rich.text import Text

    from agent.cli.plaintext import plain
    from agent.cli.screen import coloured, table

    table(
        console,
        ("", "CHECK", ""),
        ((coloured(item.status), item.name, " ".join(item.message.split())) for item in checks),
    )
    wrong = [item for word in ("fail", "warn") for item in checks if item.status == word]
    if wrong:
        console.print(Text("\nWhat to do", style="bold"))
    for status, name, remedy in dict.fromkeys((item.status, item.name, item.remedy) for item in wrong):
        line = Text.assemble("  ", coloured(status), f"  {plain(name)}: {plain(remedy or 'see the message above')}")
        console.print(line, soft_wrap=True)
    _statements(console, checks)
    words = [f"{count} {word}" for word, count in _counts(checks).items() if count]
    console.print(Text(f"\n{', '.join(words)}", style="bold"))


def _statements(console: Console, checks: Sequence[Check]) -> None:
    """Print the statements as policies that can be copied as they are: one for the role, one for each key."""
    from rich.text import Text

    from agent.cli.plaintext import plain
    from agent.daemon.checks.needs import merged

    given = [(item, item.statement) for item in checks if item.statement is not None]
    own = [one for _, one in given if "Principal" not in one]
    if own:
        console.print(Text("\nPolicy for the role of this host, to be added to what it has", style="bold"))
        console.print(_text(merged(own)), soft_wrap=True)
    for item, one in given:
        if "Principal" in one:
            console.print(Text(f"\nStatement for the policy of the {plain(item.name)}", style="bold"))
            console.print(_text(one), soft_wrap=True)


def _text(document: Mapping[str, Any]) -> str:
    from agent.cli.plaintext import plain

    return plain(json.dumps(document, indent=2))


def _counts(checks: Sequence[Check]) -> dict[str, int]:
    return {word: sum(1 for check in checks if check.status == word) for word in _WORDS}
