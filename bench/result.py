"""Result: one measured promise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """What was measured, against what, and what was promised. `value` and `baseline` are texts with their unit."""

    name: str
    value: str
    baseline: str
    ratio: str
    promise: str
    kept: bool

    def wire(self) -> dict[str, Any]:
        """Return the result as JSON-ready members."""
        return asdict(self)
