"""Pulled: the images that were not on this host before we pulled them, and when a build last had each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.kit.clock import Clock
from agent.store.database import Database


@dataclass(frozen=True)
class PulledImage:
    """An image of ours. `image` is its id ("" for one whose pull was cut off), `used` epoch seconds."""

    reference: str
    image: str
    used: float


class PulledImages:
    """The table of images that are ours to remove. *image_id* asks the engine; any thread may call any method."""

    def __init__(self, database: Database, clock: Clock, image_id: Callable[[str], str]) -> None:
        self._image_id = image_id
        self._database = database
        self._clock = clock

    def pulling(self, reference: str) -> None:
        """Write down that an image is about to be pulled that is not on the host."""
        self._database.execute(
            "INSERT INTO pulled (reference, used) VALUES (?, ?) "
            "ON CONFLICT (reference) DO UPDATE SET image = '', used = excluded.used",
            reference,
            self._clock.now(),
        )

    def had(self, reference: str) -> None:
        """Write down that a build has it now; of an image that is not ours nothing is kept, and nothing is asked."""
        row = self._database.row("SELECT image, used FROM pulled WHERE reference = ?", reference)
        if row is None:
            return
        image = str(row[0]) or self._image_id(reference)
        self._database.execute(
            "UPDATE pulled SET image = ?, used = ? WHERE reference = ?", image, self._clock.now(), reference
        )

    def unused_since(self, before: float) -> list[PulledImage]:
        """Return the images that no build has had since *before*, the longest unused first."""
        return [
            PulledImage(str(row[0]), str(row[1]), float(row[2]))
            for row in self._database.rows(
                "SELECT reference, image, used FROM pulled WHERE used < ? ORDER BY used, reference", before
            )
        ]

    def forget(self, reference: str) -> None:
        """Strike out an image that is gone, or that is somebody else's now."""
        self._database.execute("DELETE FROM pulled WHERE reference = ?", reference)
