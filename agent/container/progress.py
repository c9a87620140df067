"""PullProgress: Docker's flood of layer events becomes one short line a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HAVE_IT = frozenset({"Already exists", "Pull complete"})
_INTERVAL = 1.0
_LAYER_LIMIT = 1000


class PullProgress:
    """Adds up the layers of one pull. Not for several threads."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._layers: dict[str, tuple[bool, int, int]] = {}
        self._said_at: float | None = None

    def line(self, event: Mapping[str, Any], now: float) -> str | None:
        """Take one event of the engine's stream; return a line when it is time for one.

        *now* is monotonic seconds. The first layer starts the clock, so a pull of less than a second is silent.
        """
        layer, status = str(event.get("id") or ""), str(event.get("status") or "")
        if not layer or status.startswith(("Pulling from", "Digest", "Status")):
            return None
        if layer in self._layers or len(self._layers) < _LAYER_LIMIT:
            self._layers[layer] = self._progress_of(layer, status, event.get("progressDetail"))
        if self._said_at is None:
            self._said_at = now
        if now - self._said_at < _INTERVAL:
            return None
        self._said_at = now
        return self._text()

    def _progress_of(self, layer: str, status: str, detail: object) -> tuple[bool, int, int]:
        _, current, total = self._layers.get(layer, (False, 0, 0))
        if status in _HAVE_IT:
            return True, total, total
        if status == "Download complete":
            return False, total, total
        if status == "Downloading" and isinstance(detail, Mapping):
            return False, _count(detail.get("current")), max(total, _count(detail.get("total")))
        return False, current, total

    def _text(self) -> str:
        layers = self._layers.values()
        done = sum(have for have, _, _ in layers)
        current, total = (sum(numbers) / 1e6 for numbers in zip(*((now, of) for _, now, of in layers), strict=True))
        return f"Pulling {self._reference}: {done} of {len(layers)} layers, {current:.1f} of {total:.1f} MB"


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
