"""Shape: the frozen base of every value, named snake_case in Python and camelCase on the wire."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    """A frozen value whose JSON has the member names of the CodeBuild API."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        validate_default=True,
    )

    def evolve(self, **changes: Any) -> Self:
        """Return a copy in which *changes* (by Python name) hold. Values are trusted, not validated again."""
        return self.model_copy(update=changes)

    def wire(self) -> dict[str, Any]:
        """Return the JSON-ready mapping with camelCase keys; absent members are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
