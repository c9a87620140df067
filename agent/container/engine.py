"""Engine: what buildspecd asks of Docker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Protocol

from agent.container.spec import ContainerSpec, ContainerState, EngineFacts, RegistryLogin


class Engine(Protocol):
    """Runs build containers.

    Any thread may call any method at any time. Usual order for one build: `has_image`, `pull`, `create`, `start`,
    `inspect` now and then, `copy_in`/`copy_out`, `remove`. Each method may raise `EngineUnavailable` when the engine
    does not answer (retry later). A container belongs to the build whose id it carries as label `buildspecd.build`;
    methods that list or remove never touch a container without our labels.
    """

    def facts(self) -> EngineFacts:
        """Return what the engine says about itself; the cheapest call there is, so also the ping."""
        ...

    def mark(self) -> str:
        """Return a text that changes when the engine starts anew and has let go of its containers; empty: unknown."""
        ...

    def has_image(self, reference: str) -> bool:
        """Whether the image is on the host."""
        ...

    def pull(self, reference: str, login: RegistryLogin | None, progress: Callable[[str], None]) -> None:
        """Make the image present. `progress` gets short lines, at most about one a second.

        Raises `ImageUnavailable` (no such image, no permission) or `RegistryUnavailable` (no answer, rate limit).
        Safe to call twice at once.
        """
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Return the id of the container of `spec.build_id`, made unless it is there already.

        Raises `ImageUnavailable` when the image is not on the host, `UserError` when the engine refuses the settings
        (an unknown network, say).
        """
        ...

    def start(self, container: str) -> None:
        """Start it; one that runs already is left alone. Raises `ContainerDied` when the image has no such command."""
        ...

    def inspect(self, container: str) -> ContainerState | None:
        """Return how it stands, or None when there is no such container."""
        ...

    def find(self, build_id: str) -> str | None:
        """Return the id of the container of a build, or None."""
        ...

    def owned(self, agent_id: str) -> dict[str, str]:
        """Return container id -> build id of every container of this agent, running or not."""
        ...

    def terminate(self, container: str, grace: float) -> None:
        """End every process in it: the stop signal to the driver, TERM to all others, KILL after *grace* seconds.

        Returns when the container has ended. Safe when it has ended already or never existed.
        """
        ...

    def remove(self, container: str) -> None:
        """Remove it, running or not, with its anonymous volumes. Safe when it never existed."""
        ...

    def copy_out(self, container: str, path: str) -> Iterator[bytes] | None:
        """Yield a tar of *path* (file or directory, its base name on top); None when the container has no such path.

        Works on a container that has ended. The tar comes from an untrusted build.
        """
        ...

    def copy_in(self, container: str, directory: str, tar: IO[bytes]) -> None:
        """Unpack *tar* below *directory*, which exists in the container, keeping owners and modes."""
        ...

    def shell(self, image: str, script: str, mounts: dict[str, str]) -> int:
        """Run `/bin/sh -c script` as root in a throw-away container without network; return its exit status.

        *mounts* maps host paths to container paths. Used to give files back that a build wrote as root.
        """
        ...

    def image_ids(self) -> dict[str, str]:
        """Return tag -> image id of the images on the host."""
        ...
