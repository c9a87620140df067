"""Upkeep: what containers have written on this host's disks, and images that nobody needs any more."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.container.docker import connect, translated
from agent.container.spec import AGENT_LABEL, BUILD_LABEL
from agent.errors import EngineUnavailable

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Written:
    """What a container has written: `layer` bytes of its own files, and where its anonymous volumes lie."""

    layer: int
    volumes: tuple[Path, ...] = ()


class Upkeep(Protocol):
    """What housekeeping asks of the engine. Any thread may call any method; each may raise `EngineUnavailable`."""

    def root(self) -> Path | None:
        """Return where the engine keeps images and containers; None when that is not on this host."""
        ...

    def written(self, agent_id: str) -> dict[str, Written]:
        """Return build id -> what its container has written, of every running container of this agent.

        The engine adds up files for it: not for every second.
        """
        ...

    def image_id(self, reference: str) -> str:
        """Return the id of an image on the host; empty when there is none of that name."""
        ...

    def remove_image(self, reference: str, image_id: str) -> bool:
        """Remove a name of an image, and the image with its last name; False when a container has it, running or not.

        True also when the name is gone, or means another image by now, which stays.
        """
        ...


class DockerUpkeep:
    """`Upkeep` on a Docker engine, through a client of its own. *base_url* as for `DockerEngine`."""

    def __init__(self, *, base_url: str | None = None, timeout: float = _PATIENCE_SECONDS) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connected: Any = None

    def root(self) -> Path | None:
        """See `Upkeep.root`."""
        with translated("asking the engine where it keeps its data"):
            found = Path(str(self._client.info().get("DockerRootDir") or "/nowhere"))
        try:
            return found if found.is_dir() else None
        except PermissionError:
            return next(above for above in found.parents if above.exists())

    def written(self, agent_id: str) -> dict[str, Written]:
        """See `Upkeep.written`."""
        wanted = {"label": [f"{AGENT_LABEL}={agent_id}"]}
        with translated("adding up what containers have written"):
            found: list[dict[str, Any]] = self._client.containers(size=True, filters=wanted)
        return {
            str((one.get("Labels") or {}).get(BUILD_LABEL, "")): Written(
                int(one.get("SizeRw") or 0),
                self._volumes(str(one["Id"])) if any(map(_is_volume, one.get("Mounts") or ())) else (),
            )
            for one in found
        }

    def _volumes(self, container: str) -> tuple[Path, ...]:
        """Return where the volumes of a container lie; a list of containers does not tell."""
        try:
            with translated(f"inspecting container {container[:12]}"):
                mounts = self._client.inspect_container(container)["Mounts"]
        except EngineUnavailable as error:
            if _is_missing(error):
                return ()
            raise
        return tuple(Path(mount["Source"]) for mount in mounts if _is_volume(mount) and mount.get("Source"))

    def image_id(self, reference: str) -> str:
        """See `Upkeep.image_id`."""
        try:
            with translated(f"looking for image {reference}"):
                return str(self._client.inspect_image(reference)["Id"])
        except EngineUnavailable as error:
            if _is_missing(error):
                return ""
            raise

    def remove_image(self, reference: str, image_id: str) -> bool:
        """See `Upkeep.remove_image`."""
        there = self.image_id(reference)
        if not there or (image_id and there != image_id):
            return True
        try:
            with translated(f"removing image {reference}"):
                if self._client.containers(all=True, quiet=True, filters={"ancestor": [there]}):
                    return False
                self._client.remove_image(reference, force=False)
        except EngineUnavailable as error:
            if _is_missing(error):
                return True
            if getattr(error.__cause__, "status_code", None) == 409:  # a container came to have it meanwhile
                return False
            raise
        return True

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self._base_url, self._timeout)
            return self._connected


def _is_missing(error: EngineUnavailable) -> bool:
    return getattr(error.__cause__, "status_code", None) == 404


def _is_volume(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume"
