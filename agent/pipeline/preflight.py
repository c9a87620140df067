"""Preflight: what a project says it needs is connected to before its first command runs."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.errors import PreflightFailed
from agent.kit.heed import patiently
from agent.model.cause import Cause

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_PATIENCE_SECONDS = 5.0


def check(addresses: Iterable[str], job: Job) -> None:
    """Resolve and connect to every `host:port`. Raises `PreflightFailed`, naming the hop that failed."""
    for address in addresses:
        job.check()
        patiently(lambda: reach(address))  # noqa: B023 - it is over, or of no use any more, when the next one comes


def reach(address: str) -> None:
    """Connect to one `host:port` from this host's network."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise PreflightFailed(
            f"preflight: {address!r} is not HOST:PORT", hint="correct agent.preflight", cause=Cause.PROJECT_INVALID
        )
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise PreflightFailed(
            f"preflight: {host} cannot be resolved: {error}",
            hint="check the VPC's DNS and the private hosted zone",
            cause=Cause.DNS_FAILED,
        ) from error
    try:
        socket.create_connection((str(found[0][4][0]), int(port)), timeout=_PATIENCE_SECONDS).close()
    except OSError as error:
        raise PreflightFailed(
            f"preflight: {address} ({found[0][4][0]}) does not accept a connection: {error}",
            hint="check security groups, network ACLs and routes between this host and it",
        ) from error
