"""`buildspecd pipeline`: the custom action with which CodePipeline gives work to this agent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from agent.cli.options import ConfigOption, JsonOption

app = typer.Typer(help="The custom action with which CodePipeline gives work to this agent.", no_args_is_help=True)
_BROKEN = 3

ProviderOption = Annotated[
    str | None, typer.Option("--provider", help="Provider of the action; else pipeline.action.provider.")
]
VersionOption = Annotated[
    str | None, typer.Option("--action-version", help="Version of the action; else pipeline.action.version.")
]


@app.command("install")
def install(
    provider: ProviderOption = None,
    version: VersionOption = None,
    execution_url: Annotated[
        str | None,
        typer.Option(help="Where the console's link of an execution leads; may hold {ExternalExecutionId}."),
    ] = None,
    entity_url: Annotated[
        str | None, typer.Option(help="Where the console's link of the action leads; may hold {Config:ProjectName}.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Create the custom action type, once an account and region. Safe to do again."""
    from agent.app.pipelines import action_types

    types, kind, _ = action_types(config, provider, version)
    made = types.create(kind, execution_url, entity_url)
    typer.echo(f"{kind} {'was created' if made else 'is there already'}", err=True)


@app.command("show")
def show(
    provider: ProviderOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print the action for the JSON of a pipeline; with --json the action type as CodePipeline knows it."""
    from agent.app.pipelines import action_types
    from agent.errors import UsageError
    from agent.triggers.codepipeline.actiontype import snippet

    types, kind, pool = action_types(config, provider, version)
    found = types.find(kind)
    if found is None:
        raise UsageError(f"there is no {kind}", hint="buildspecd pipeline install")
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    typer.echo(f"{kind} is there; an action of a pipeline:", err=True)
    typer.echo(json.dumps(snippet(kind, pool), indent=2))


@app.command("check")
def check(
    provider: ProviderOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """See whether the action type is there, and whether this host may do its jobs. Exit code 0, or 3 if it may not."""
    from agent.app.pipelines import action_types

    types, kind, pool = action_types(config, provider, version)
    found = types.check(kind, pool)
    broken = not all(item.ok for item in found)
    if as_json:
        typer.echo(json.dumps({"healthy": not broken, "checks": [asdict(item) for item in found]}))
    else:
        from agent.cli.plaintext import plain
        from agent.cli.screen import coloured, out, table

        console = out()
        rows = ((coloured("ok" if item.ok else "fail"), item.name, item.message) for item in found)
        table(console, ("", "CHECK", ""), rows)
        for item in found:
            if not item.ok and item.remedy:
                console.print(plain(f"\n{item.name}: {item.remedy}"), markup=False)
    raise typer.Exit(_BROKEN if broken else 0)
