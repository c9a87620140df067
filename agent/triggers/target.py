"""PollTarget: one project that is looked at, where, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from agent.errors import SourceRefused
from agent.model.project import EVERY_REPOSITORY, GIT_TYPES, Project
from agent.source import url

_POLLED = GIT_TYPES | {"S3"}


@dataclass(frozen=True)
class PollTarget:
    """A project and the seconds between two looks at it; 0: never.

    `slowest` is the pause that one grows to in which nothing happens for long; not above `every`: it never grows.
    """

    project: Project
    every: float
    slowest: float = 0.0

    @property
    def is_polled(self) -> bool:
        """Whether there is anything to look at."""
        location = self.project.source.location
        return self.every > 0 and self.project.source.type in _POLLED and location not in (None, "", EVERY_REPOSITORY)

    @property
    def host(self) -> str:
        """The server that is asked; empty for this machine and for a location that makes no sense."""
        if self.project.source.type == "S3":
            return "" if (self.project.source.location or "").startswith("file:") else "s3"
        return _address(self.project.source.location)[0]

    @property
    def local_path(self) -> str | None:
        """The directory that is watched, of a polled repository on this machine."""
        is_git = self.project.source.type in GIT_TYPES
        return _address(self.project.source.location)[1] if self.is_polled and is_git else None


@lru_cache(maxsize=4096)
def _address(location: str | None) -> tuple[str, str | None]:
    """Return host and local path of a location; asked for every project again and again."""
    try:
        address, _ = url.parse(location or "")
    except SourceRefused:
        return "", None
    return address.host, address.path if address.is_local else None
