"""FakeEngine: an `Engine` in memory, for tests of what stands above Docker."""

from __future__ import annotations

import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from agent.container.spec import ContainerSpec, ContainerState, EngineFacts, RegistryLogin
from agent.errors import ContainerDied, EngineUnavailable, ImageUnavailable, UserError

Program = Callable[["FakeContainer"], int | None]
"""What a container does when it starts: returns its exit code, or None: it runs until something ends it."""

_BUILTIN_NETWORKS = frozenset({"host", "bridge", "none"})


@dataclass
class FakeContainer:
    """One container: how it stands, and its files (`/path` -> tar member and content)."""

    spec: ContainerSpec
    state: ContainerState
    files: dict[str, tuple[tarfile.TarInfo, bytes]] = field(default_factory=dict)


def run_shell(container: FakeContainer) -> int | None:
    """The program that a fake runs unless told otherwise: of the shell it knows `exit N`; all else runs on."""
    found = re.fullmatch(r"exit (\d+)", container.spec.command[-1])
    return int(found[1]) if found else None


class FakeEngine:
    """Obeys the contract of `Engine`.

    *images* are on the host, *registry* can be pulled (`{}`: nothing). *program* stands for the container's command.
    `down` True makes every call raise `EngineUnavailable`; `starts` counts how often the engine was started. `pulls`
    and `shells` record what was asked for.
    """

    def __init__(
        self,
        images: tuple[str, ...] = (),
        *,
        registry: tuple[str, ...] = (),
        networks: tuple[str, ...] = (),
        program: Program = run_shell,
        shell_status: int = 0,
    ) -> None:
        self.images = set(images)
        self.registry = set(registry)
        self.networks = set(networks)
        self.program = program
        self.shell_status = shell_status
        self.down = False
        self.starts = 1
        self.pulls: list[tuple[str, RegistryLogin | None]] = []
        self.shells: list[tuple[str, str, dict[str, str]]] = []
        self.containers: dict[str, FakeContainer] = {}
        self._made = 0
        self._lock = threading.RLock()

    def facts(self) -> EngineFacts:
        self._answer()
        return EngineFacts("20.10.0", "1.41", 4, 16 << 30, "overlay2", "2", live_restore=True)

    def mark(self) -> str:
        self._answer()
        return f"start {self.starts}"

    def has_image(self, reference: str) -> bool:
        self._answer()
        return reference in self.images

    def image_ids(self) -> dict[str, str]:
        self._answer()
        return {image: f"sha256:{image}" for image in self.images}

    def pull(self, reference: str, login: RegistryLogin | None, progress: Callable[[str], None]) -> None:
        self._answer()
        self.pulls.append((reference, login))
        if reference not in self.registry:
            raise ImageUnavailable(f"cannot pull {reference}: manifest unknown")
        progress(f"Pulling {reference}: 1 of 1 layers, 1.0 of 1.0 MB")
        self.images.add(reference)

    def create(self, spec: ContainerSpec) -> str:
        self._answer()
        if spec.network not in _BUILTIN_NETWORKS | self.networks:
            raise UserError(f"there is no Docker network named {spec.network}")
        with self._lock:
            there = self.find(spec.build_id)
            if there:
                return there
            if spec.image not in self.images:
                raise ImageUnavailable(f"image {spec.image} is not on the host")
            self._made += 1
            name = f"{self._made:064x}"
            state = ContainerState(name, running=False, started=False, exit_code=0, oom_killed=False)
            self.containers[name] = FakeContainer(spec, state)
            return name

    def start(self, container: str) -> None:
        self._answer()
        made = self.containers[container]
        if made.state.running:
            return
        if not made.spec.command[0].endswith("sh"):
            raise ContainerDied(f"the image cannot run {made.spec.command[0]}")
        made.state = replace(made.state, running=True, started=True)
        status = self.program(made)
        if status is not None:
            self.end(container, status)

    def end(self, container: str, exit_code: int, *, oom_killed: bool = False) -> None:
        """End a running container, as its command would."""
        made = self.containers[container]
        made.state = replace(made.state, running=False, exit_code=exit_code, oom_killed=oom_killed)

    def inspect(self, container: str) -> ContainerState | None:
        self._answer()
        made = self.containers.get(container)
        return made.state if made else None

    def find(self, build_id: str) -> str | None:
        self._answer()
        return next((name for name, made in self.containers.items() if made.spec.build_id == build_id), None)

    def owned(self, agent_id: str) -> dict[str, str]:
        self._answer()
        return {name: made.spec.build_id for name, made in self.containers.items() if made.spec.agent_id == agent_id}

    def terminate(self, container: str, grace: float) -> None:
        self._answer()
        made = self.containers.get(container)
        if made and made.state.running:
            self.end(container, 137)

    def remove(self, container: str) -> None:
        self._answer()
        self.containers.pop(container, None)

    def copy_out(self, container: str, path: str) -> Iterator[bytes] | None:
        self._answer()
        made = self.containers.get(container)
        if made is None:
            return None
        path = path.rstrip("/")
        found = {name: entry for name, entry in made.files.items() if name == path or name.startswith(path + "/")}
        return iter([_pack(path.rpartition("/")[0], found)]) if found else None

    def copy_in(self, container: str, directory: str, tar: IO[bytes]) -> None:
        self._answer()
        made = self.containers[container]
        if directory not in ("/", "/tmp", "/root") and directory not in made.files:
            raise UserError(f"cannot unpack to {directory} in the container")
        with tarfile.open(fileobj=tar, mode="r|*") as unpacked:
            for member in unpacked:
                content = unpacked.extractfile(member) if member.isfile() else None
                name = directory.rstrip("/") + "/" + member.name.rstrip("/")
                made.files[name] = (member, content.read() if content else b"")

    def shell(self, image: str, script: str, mounts: dict[str, str]) -> int:
        self._answer()
        self.shells.append((image, script, mounts))
        found = re.fullmatch(r"exit (\d+)", script)
        return int(found[1]) if found else self.shell_status

    def _answer(self) -> None:
        if self.down:
            raise EngineUnavailable("the fake engine is down")


def _pack(parent: str, files: dict[str, tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (member, content) in sorted(files.items()):
            tar.addfile(member.replace(name=name.removeprefix(parent + "/")), io.BytesIO(content))
    return buffer.getvalue()
