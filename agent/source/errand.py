"""Errand: what a fetch is handed beside its orders: where to speak, when to stop, where to work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def go_on() -> None:
    """The `check` of those who are never stopped."""


@dataclass(frozen=True)
class Errand:
    """`say` takes lines for the build's log. `check` raises when the build is not to go on, from any thread.

    `scratch` is a directory that the build does not see, on the disk of its workspace.
    """

    say: Callable[[str], None]
    check: Callable[[], None]
    scratch: Path
