"""Clients: boto3 as the AWS-shaped server's tests use it: no retries, short patience."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from agent.torture.cloud import Remote


def client(cloud: Remote, service: str, *, patience: float = 30.0) -> Any:
    """Return a client that asks once, and waits for an answer for *patience* seconds."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=patience)
    return boto3.client(
        service,
        endpoint_url=cloud.url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=config,
    )


class Clients:
    """What the sinks of events take for `agent.aws.Aws`."""

    def __init__(self, cloud: Remote, *, patience: float = 30.0) -> None:
        self._cloud = cloud
        self._patience = patience
        self._made: dict[str, Any] = {}

    def client(self, service: str, **_: Any) -> Any:
        if service not in self._made:
            self._made[service] = client(self._cloud, service, patience=self._patience)
        return self._made[service]
