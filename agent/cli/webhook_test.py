"""`buildspecd webhook-test`: what a payload would start, and which filter decides. Nothing is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import ConfigOption, JsonOption
from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.app.hooks import Trial

_MOST_BYTES = 25 << 20
_HOSTS = ("github", "github_enterprise", "bitbucket", "gitlab")

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The payload, which is the body of a delivery; - for standard input.")
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header", "-H", metavar="NAME:VALUE", help="A header of the delivery. May be repeated.", show_default=False
    ),
]
EventOption = Annotated[
    str | None,
    typer.Option("--event", help="The event: push, pull_request, pullrequest:created, ...; else as the payload looks."),
]
HostOption = Annotated[str | None, typer.Option("--host", help=f"Who sends it: {', '.join(_HOSTS)}.")]
ProjectOption = Annotated[
    str | None, typer.Option("--project", "-p", help="Judge for this project alone, whatever its source.")
]


def webhook_test(
    file: FileArgument,
    header: HeaderOption = None,
    event: EventOption = None,
    host: HostOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what a webhook's payload would start, for which projects, and which filter decides.

    Signatures are not checked, no server is asked and nothing is started. Exit code 0, also where nothing is built.
    """
    from agent.app.hooks import host_named, try_delivery
    from agent.settings.load import settings_file
    from agent.triggers.hooks.trial import guessed, host_of_headers

    if host is not None and host not in _HOSTS:
        raise UsageError(f"--host {host!r} is none of {', '.join(_HOSTS)}")
    headers, body = _headers(header or []), _body(file)
    named = host_of_headers(headers)
    chosen = host_named(host) if host else named
    if named is None or event is not None:
        chosen, more = guessed(body, chosen, event)
        headers |= more
    trial = try_delivery(settings_file(config), chosen or "github", headers, body, project)
    if as_json:
        typer.echo(json.dumps(_document(trial)))
    else:
        _print(trial)


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"--header {text[:40]!r}: write NAME:VALUE")
        headers[name.strip().lower()] = value.strip()
    return headers


def _body(file: Path) -> bytes:
    try:
        if str(file) == "-":
            body = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with file.open("rb") as stream:
                body = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if len(body) > _MOST_BYTES:
        raise UsageError(f"{file} is longer than {_MOST_BYTES} bytes, which no delivery is")
    return body


def _document(trial: Trial) -> dict[str, Any]:
    return {
        "host": trial.host,
        "ignored": trial.ignored or None,
        "repositories": list(trial.names),
        "findings": [
            {
                "project": one.project,
                "outcome": one.outcome,
                "reason": one.reason,
                "event": one.event.model_dump(mode="json", exclude_none=True, exclude={"repository"}),
                "request": one.request.wire() if one.request else None,
            }
            for one in trial.findings
        ],
    }


def _print(trial: Trial) -> None:
    from agent.cli.plaintext import plain

    if trial.ignored:
        typer.echo(plain(f"nothing: {trial.ignored}"))
    elif not trial.findings:
        typer.echo(plain(f"nothing: no project has {', '.join(trial.names)} as its source"))
    for one in trial.findings:
        typer.echo(plain(f"{one.project}: {one.outcome}: {one.event.event} {one.event.trigger or ''}".rstrip()))
        typer.echo(plain(f"  {one.reason}"))
        if one.request is not None:
            typer.echo(plain(f"  source version {one.request.source_version}"))
            for name, value in one.request.webhook.variables().items() if one.request.webhook else ():
                typer.echo(plain(f"  {name}={value}"))
