"""Secret: a text that prints as stars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Secret:
    """Holds a value that no log, traceback or repr may show; `reveal` is the one way out."""

    _value: str

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__
