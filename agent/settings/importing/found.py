"""Found: a project as CodeBuild or a template has it, before anything is decided about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.errors import Problem
from agent.settings.problems import Loc

Weight = Literal["decide", "differs", "left out"]


@dataclass(frozen=True)
class Note:
    """A comment for whoever goes over the file, at *loc*: something to decide, to know, or that is not there."""

    loc: Loc
    weight: Weight
    text: str

    def __str__(self) -> str:
        return f"{self.weight}: {self.text}"


@dataclass(frozen=True)
class Found:
    """The members of one project in CodeBuild's own names. `origin` says where from; `file`, `line` and `column` too.

    `places` knows the line and column of members, as far as there are any.
    """

    members: dict[str, Any]
    origin: str
    file: str
    line: int = 0
    column: int = 0
    notes: tuple[Note, ...] = ()
    places: Mapping[Loc, tuple[int, int]] = field(default_factory=dict)

    def problem(self, loc: Loc, message: str, *, fatal: bool = True) -> Problem:
        """Return a problem with the member at *loc*, or with the nearest one around it that has a place."""
        for end in range(len(loc), -1, -1):
            if place := self.places.get(loc[:end]):
                return Problem(self.file, *place, message, fatal)
        return Problem(self.file, self.line, self.column, message, fatal)
