"""Book: where a store writes down what it makes in other people's places, so that a kill leaves nothing there."""

from __future__ import annotations

from typing import Protocol

UPLOAD = "upload"
FILE = "file"


class Book(Protocol):
    """Entries are written before the thing is made, and struck out after it is gone. Any thread may call any method."""

    def begin(self, kind: str, place: str, name: str = "") -> int:
        """Write down what is about to be made: an `upload` of a key to a bucket, or a `file`. Returns its number."""
        ...

    def mark(self, entry: int, mark: str) -> None:
        """Write down under which id it was made."""
        ...

    def strike(self, entry: int) -> None:
        """Strike out what is gone, or has become what it was made for."""
        ...

    def give_up(self, entry: int) -> None:
        """Leave what could not be removed to whoever reads the book."""
        ...


class NoBook:
    """For those who need none: their stores live no longer than they do."""

    def begin(self, kind: str, place: str, name: str = "") -> int:
        return 0

    def mark(self, entry: int, mark: str) -> None: ...

    def strike(self, entry: int) -> None: ...

    def give_up(self, entry: int) -> None: ...
