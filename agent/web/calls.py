"""Calls: what an operation of the API is given, and how it reads the members of its input (service.md 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.daemon.control import Control
from agent.errors import RequestInvalid
from agent.web.pages import SIZE


@dataclass(frozen=True)
class Call:
    """One call of an operation. *arn* makes the ARN of a resource such as `project/web`; *caller* is a user name."""

    control: Control
    members: Mapping[str, Any]
    caller: str
    arn: Callable[[str], str]


Operation = Callable[[Call], dict[str, Any]]


def text(call: Call, member: str) -> str | None:
    """Return a text, None where it is absent. Raises `RequestInvalid`, as all of these do."""
    value = call.members.get(member)
    if value is not None and not isinstance(value, str):
        raise RequestInvalid(f"{member} must be a string")
    return value


def texts(call: Call, member: str) -> list[str]:
    """Return a list of texts that must be there, 1 to 100 of them."""
    values = call.members.get(member)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise RequestInvalid(f"{member} must be a list of strings")
    if not 1 <= len(values) <= SIZE:
        raise RequestInvalid(f"{member} must have 1 to {SIZE} entries")
    return values


def choice(call: Call, member: str, choices: tuple[str, ...], default: str | None) -> str | None:
    """Return a text that is one of *choices*; *default* where it is absent."""
    value = text(call, member)
    if value is None:
        return default
    if value not in choices:
        raise RequestInvalid(f"Invalid {member} provided: {value!r} is none of {', '.join(choices)}")
    return str(value)


def number(call: Call, member: str, lowest: float, highest: float, default: float) -> float:
    """Return a number from *lowest* to *highest*; *default* where it is absent."""
    value = call.members.get(member, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise RequestInvalid(f"{member} must be a number from {lowest:g} to {highest:g}")
    return value


def paged(member: str, names: list[str], token: str | None) -> dict[str, Any]:
    """Return one page of an answer, with the token of the next one if there is one."""
    return {member: names, **({"nextToken": token} if token else {})}
