"""Hands: what a torture run does to containers on the real engine; only ever to those of its own agent, and its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from agent.container.docker import connect, translated
from agent.container.spec import AGENT_LABEL, BUILD_LABEL
from agent.errors import BuildspecdError

STRANGER_LABEL = "buildspecd.torture"
_PATIENCE_SECONDS = 60.0
_RUNNING = "running"


class Hands:
    """The engine, asked as `docker` would ask it. `agent` is the id that the containers are labelled with."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.agent = ""
        self.volumes: set[str] = set()
        self.seen: dict[str, str] = {}
        self._client = connect(None, _PATIENCE_SECONDS)

    def containers(self, state: str = "") -> dict[str, str]:
        """Return the build of each container of our agent, by the container's id; those in *state* alone, if given."""
        if not self.agent:
            return {}
        with _quiet():
            listed = self._client.containers(all=True, filters={"label": [f"{AGENT_LABEL}={self.agent}"]})
            wanted = [one for one in listed if not state or one.get("State") == state]
            return {one["Id"]: (one.get("Labels") or {}).get(BUILD_LABEL, "") for one in wanted}
        return {}

    def running(self) -> dict[str, str]:
        """Return the running containers of our builds."""
        return {number: build for number, build in self.containers(_RUNNING).items() if ":" in build}

    def kill(self, container: str) -> bool:
        """Do what `docker kill` does; return whether it was done."""
        return self._done(lambda: self._client.kill(container))

    def remove(self, container: str) -> bool:
        """Do what `docker rm --force` does."""
        return self._done(lambda: self._client.remove_container(container, v=True, force=True))

    def pause(self, container: str) -> bool:
        """Do what `docker pause` does."""
        return self._done(lambda: self._client.pause(container))

    def unpause(self, container: str) -> bool:
        """Do what `docker unpause` does."""
        return self._done(lambda: self._client.unpause(container))

    def unpause_all(self) -> None:
        """Let every container of ours go on."""
        for container in self.containers("paused"):
            self.unpause(container)

    def look(self, secrets: tuple[str, ...]) -> list[str]:
        """Note the volumes of our containers; return those whose configuration shows a secret."""
        shown = []
        for container in self.containers():
            if container in self.seen:
                continue
            with _quiet():
                facts = self._client.inspect_container(container)
                self.seen[container] = str(facts.get("Name", container))
                self.volumes.update(one["Name"] for one in facts.get("Mounts", ()) if one.get("Type") == "volume")
                text = json.dumps(facts)
                shown += [f"docker inspect {self.seen[container]} shows a secret" for one in secrets if one in text]
        return shown

    def volumes_left(self) -> list[str]:
        """Return the volumes of our containers that are still there."""
        found = []
        for name in self.volumes:
            with _quiet():
                self._client.inspect_volume(name)
                found.append(name)
        return found

    def orphan(self, build: str) -> bool:
        """Make a container of our agent's that belongs to no build, as an agent that was killed might leave one."""
        labels = {AGENT_LABEL: self.agent, BUILD_LABEL: build}
        return self._done(lambda: self._client.create_container(self.image, command=["true"], labels=labels))

    def stranger(self, mark: str) -> str:
        """Make a container that is nobody's business, labelled with *mark*; return its id."""
        with translated(f"creating a container of {self.image}"):
            made = self._client.create_container(self.image, command=["true"], labels={STRANGER_LABEL: mark})
        return str(made["Id"])

    def exists(self, container: str) -> bool:
        """Whether a container is there."""
        with _quiet():
            self._client.inspect_container(container)
            return True
        return False

    def clear(self) -> None:
        """Remove every container of our agent."""
        for container in self.containers():
            self.remove(container)

    def has_image(self) -> bool:
        """Whether the image is on this host."""
        with _quiet():
            self._client.inspect_image(self.image)  # type: ignore[no-untyped-call]
            return True
        return False

    def pull(self) -> None:
        """Fetch the image. Raises `BuildspecdError`."""
        from agent.container.docker import DockerEngine

        DockerEngine().pull(self.image, None, lambda _: None)

    def version(self) -> str:
        """Return the version of the engine. Raises `EngineUnavailable`."""
        with translated("asking the engine for its version"):
            return str(self._client.version().get("Version", ""))

    def _done(self, act: Any) -> bool:
        with _quiet():
            act()
            return True
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Take it that the engine may say no: what is not there any more cannot be broken."""
    with suppress(BuildspecdError), translated("torture"):
        yield
