"""Section: what every part of agent.yml is made of."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of agent.yml: frozen, closed; the docstring of a member is its description in agent.schema.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, data: Any) -> Any:
        """Take a member left empty as not given, unless null means something there."""
        if data is None:
            return {}
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None or cls._may_be_null(name)}

    @classmethod
    def _may_be_null(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is None or type(None) in get_args(field.annotation)
