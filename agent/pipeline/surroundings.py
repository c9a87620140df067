"""Surroundings: who tells the steps of a build what its network reaches, and where the host stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.container import lookout
from agent.container.lookout import Survey
from agent.errors import Unavailable
from agent.model.place import HostPlace


class Lookout(Protocol):
    """Looks out of the network of a build; see `DockerLookout`."""

    def shares(self, network: str) -> bool:
        """Whether a container in *network* sees what this process sees."""
        ...

    def at_once(self, container: str, targets: Sequence[str]) -> Survey | None:
        """Look from the network of a running container in milliseconds; None where it takes longer than that."""
        ...

    def from_container(self, container: str, targets: Sequence[str]) -> Survey:
        """Look from the network of a running container. Raises `EngineUnavailable`."""
        ...


class HostLookout:
    """For those who have no engine to ask: looks from this process's own network alone."""

    def shares(self, network: str) -> bool:
        """See `Lookout.shares`."""
        return bool(network)

    def at_once(self, container: str, targets: Sequence[str]) -> Survey | None:
        """See `Lookout.at_once`."""
        return self.from_container(container, targets)

    def from_container(self, container: str, targets: Sequence[str]) -> Survey:
        """See `Lookout.from_container`."""
        return lookout.from_host(targets) if container else Survey((), "")


class Locate(Protocol):
    """Says where this host stands; see `Whereabouts.ask`. Raises `Unavailable`."""

    def __call__(self, at_most_old: float) -> HostPlace: ...


def nowhere(at_most_old: float) -> HostPlace:
    """For those who do not know."""
    raise Unavailable(f"nobody can say where this host stands, nor {at_most_old:g} s ago")
