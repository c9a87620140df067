"""PatientEngine: an engine that hangs keeps no build from being stopped.

Questions and orders are given on a thread of their own and left behind when the build is to end (`agent.kit.heed`);
whatever an order makes after that carries our labels, and the janitor removes it. What ends a build is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from agent.container.engine import Engine
from agent.container.spec import ContainerSpec, ContainerState, EngineFacts, RegistryLogin
from agent.kit.heed import Abandoned, patiently


@dataclass(frozen=True)
class PatientEngine:
    """An `Engine` like *engine*, but for how soon whoever asks may leave."""

    engine: Engine

    def facts(self) -> EngineFacts:
        """See `Engine.facts`."""
        return patiently(self.engine.facts)

    def mark(self) -> str:
        """See `Engine.mark`."""
        return patiently(self.engine.mark)

    def has_image(self, reference: str) -> bool:
        """See `Engine.has_image`."""
        return patiently(lambda: self.engine.has_image(reference))

    def pull(self, reference: str, login: RegistryLogin | None, progress: Callable[[str], None]) -> None:
        """See `Engine.pull`; one that nobody wants any more is broken off in the engine, too."""
        self.engine.pull(reference, login, progress)

    def create(self, spec: ContainerSpec) -> str:
        """See `Engine.create`."""
        return patiently(lambda: self.engine.create(spec))

    def start(self, container: str) -> None:
        """See `Engine.start`."""
        patiently(lambda: self.engine.start(container))

    def inspect(self, container: str) -> ContainerState | None:
        """See `Engine.inspect`."""
        return patiently(lambda: self.engine.inspect(container))

    def find(self, build_id: str) -> str | None:
        """See `Engine.find`."""
        return patiently(lambda: self.engine.find(build_id))

    def owned(self, agent_id: str) -> dict[str, str]:
        """See `Engine.owned`."""
        return patiently(lambda: self.engine.owned(agent_id))

    def terminate(self, container: str, grace: float) -> None:
        """See `Engine.terminate`; waited for, as it is what a stop asks for."""
        self.engine.terminate(container, grace)

    def remove(self, container: str) -> None:
        """See `Engine.remove`; waited for."""
        self.engine.remove(container)

    def copy_out(self, container: str, path: str) -> Iterator[bytes] | None:
        """See `Engine.copy_out`."""
        chunks = patiently(lambda: self.engine.copy_out(container, path))
        return None if chunks is None else _each(chunks)

    def copy_in(self, container: str, directory: str, tar: IO[bytes]) -> None:
        """See `Engine.copy_in`; a *tar* that is not wanted any more is closed, which ends its transfer."""
        patiently(lambda: self.engine.copy_in(container, directory, tar), abandon=tar.close)

    def shell(self, image: str, script: str, mounts: dict[str, str]) -> int:
        """See `Engine.shell`."""
        return patiently(lambda: self.engine.shell(image, script, mounts))

    def image_ids(self) -> dict[str, str]:
        """See `Engine.image_ids`."""
        return patiently(self.engine.image_ids)


def _each(chunks: Iterator[bytes]) -> Iterator[bytes]:
    while (chunk := patiently(lambda: next(chunks, None))) is not None:
        yield chunk


@dataclass
class Line:
    """The one answer of an engine that streams, as its HTTP client sees it; `cut` ends it from another thread."""

    client: Any
    over: bool = False
    responses: list[Any] = field(default_factory=list)

    def keep(self, response: Any, *_: object, **__: object) -> None:
        """Remember the answer that begins; an answer that nobody waits for any more ends at once."""
        if self.over:
            response.close()
            raise Abandoned
        self.responses.append(response)

    def cut(self) -> None:
        """Have whoever reads the stream find its end, and the engine nobody who listens: it gives up then."""
        self.over = True
        for response in self.responses:
            response.raw.shutdown()


@contextmanager
def line_of(client: Any) -> Iterator[Line]:
    """Yield the line of *client*, which is used for one stream and closed after that."""
    line = Line(client)
    client.hooks["response"].append(line.keep)
    try:
        yield line
    finally:
        client.close()
