"""`buildspecd logs`: the log of a build."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.options import BuildArgument, ConfigOption


def logs(
    build: BuildArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build ends.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the log of a build."""
    from agent.cli.daemon import client
    from agent.cli.follow import copy_log, follow_to_the_end

    daemon = client(config)
    found = daemon.build(build)
    if follow:
        follow_to_the_end(daemon, found["id"])
    elif not copy_log(daemon, found["id"]) and found["buildspecd"]["logs"]["bytes"]:
        places = [found["logs"].get(name) for name in ("cloudWatchLogsArn", "s3LogsArn")]
        elsewhere = " and ".join(place for place in places if place)
        typer.echo(f"the log is no longer on this host; it went to {elsewhere or 'no other place'}", err=True)
