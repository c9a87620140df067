"""FakeUpkeep: an `Upkeep` in memory."""

from __future__ import annotations

from pathlib import Path

from agent.container.upkeep import Written
from agent.errors import EngineUnavailable


class FakeUpkeep:
    """`images` maps a name to an id, `used` are ids that a container has, `layers` what containers have written."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.used: set[str] = set()
        self.layers: dict[str, Written] = {}
        self.down = False

    def root(self) -> Path | None:
        self._answer()
        return None

    def written(self, agent_id: str) -> dict[str, Written]:
        self._answer()
        return self.layers

    def image_id(self, reference: str) -> str:
        self._answer()
        return self.images.get(reference, "")

    def remove_image(self, reference: str, image_id: str) -> bool:
        self._answer()
        there = self.images.get(reference)
        if there is None or (image_id and there != image_id):
            return True
        if there in self.used:
            return False
        del self.images[reference]
        return True

    def _answer(self) -> None:
        if self.down:
            raise EngineUnavailable("the fake engine is down")
