"""What these stories share with the journeys: a server that speaks AWS, an image, daemons of their own."""

from __future__ import annotations

from tests.journey.conftest import aws, busybox, new_daemon, repository

__all__ = ["aws", "busybox", "new_daemon", "repository"]
