"""Payload: JSON that others wrote, read member by member; every wrong shape names the member (RequestInvalid). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qs

from agent.errors import RequestInvalid
from agent.source import version as versions

_SHA = re.compile(r"[0-9a-fA-F]{40}")
_LONGEST_WORD = 4096
_MOST_PATHS = 100_000
_MOST_NUMBER = 10**9
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Node:
    """One object of a payload, and where it stands in it (`pull_request.head`)."""

    members: Mapping[str, Any]
    place: str = ""

    def node(self, name: str) -> Node:
        """Return the object *name*; it must be there."""
        found = self.maybe(name)
        return found if found is not None else self.refuse(name, "is missing")

    def maybe(self, name: str) -> Node | None:
        """Return the object *name*, None where it is absent or null."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(name, "must be an object")
        return Node(value, self._named(name))

    def nodes(self, name: str) -> Iterator[Node]:
        """Yield the objects of the list *name*; it must be there."""
        values = self.members.get(name)
        if not isinstance(values, list):
            self.refuse(name, "must be a list")
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                self.refuse(f"{name}[{index}]", "must be an object")
            yield Node(value, self._named(f"{name}[{index}]"))

    def text(self, name: str, longest: int = _LONGEST_WORD) -> str:
        """Return the text *name*; it must be there, and not be empty."""
        found = self.maybe_text(name, longest)
        return found if found else self.refuse(name, "is missing")

    def maybe_text(self, name: str, longest: int | None = _LONGEST_WORD) -> str | None:
        """Return the text *name*, None where it is absent or null. *longest* None: any length."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(name, "must be a string")
        if longest is not None and len(value) > longest:
            self.refuse(name, f"is longer than {longest} characters")
        return str(value).encode("utf-8", "replace").decode()  # half a surrogate pair could not be stored

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the list of texts *name*, None where it is absent or null."""
        values = self.members.get(name)
        if values is None:
            return None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.refuse(name, "must be a list of strings")
        if len(values) > _MOST_PATHS:
            self.refuse(name, f"has more than {_MOST_PATHS} entries")
        return tuple(value.encode("utf-8", "replace").decode() for value in values)

    def flag(self, name: str) -> bool:
        """Return the truth value *name*, False where it is absent or null."""
        value = self.members.get(name)
        if value is not None and not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return bool(value)

    def number(self, name: str) -> int:
        """Return the whole number *name*, 1 or more; it must be there."""
        value = self.members.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_NUMBER:
            self.refuse(name, "must be a whole number")
        return int(value)

    def identity(self, name: str) -> str | None:
        """Return an id, which hosts give as a number or as a text; None where it is absent or null."""
        value = self.members.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            return str(value)
        return self.maybe_text(name)

    def sha(self, name: str) -> str:
        """Return a commit id of 40 digits, in lower case; it must be there."""
        value = self.text(name)
        if _SHA.fullmatch(value) is None:
            self.refuse(name, "must be a commit id of 40 hexadecimal digits")
        return value.lower()

    def maybe_sha(self, name: str) -> str | None:
        """Return a commit id, None where it is absent, null or empty."""
        return self.sha(name) if self.maybe_text(name) else None

    def ref(self, name: str, prefix: str = "") -> str:
        """Return the full name of a ref, *prefix* put before it; names that git would refuse are refused."""
        value = prefix + self.text(name)
        if not versions.is_ref(value):
            self.refuse(name, f"is not the name of a ref: {value[:100]!r}")
        return value

    def refuse(self, name: str, words: str) -> NoReturn:
        """Raise `RequestInvalid` about the member *name*."""
        raise RequestInvalid(f"the payload's {self._named(name)} {words}", hint="is this a payload of that event?")

    def _named(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header by its name in lower case, None where it is absent or empty; never more than 200 characters."""
    value = headers.get(name, "").strip()
    return value[:200].encode("ascii", "replace").decode() or None


def read(headers: Mapping[str, str], body: bytes) -> Node:
    """Return the object that *body* is, as JSON or as a form whose `payload` is JSON. Raises `RequestInvalid`."""
    text: bytes | str = body
    if (headers.get("content-type") or "").partition(";")[0].strip().lower() == _FORM:
        try:
            fields = parse_qs(body.decode("ascii"), max_num_fields=16, strict_parsing=True)
        except ValueError as error:
            raise RequestInvalid("the body is no form that could hold a payload") from error
        text = fields.get("payload", [""])[0]
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid("the body is no JSON", hint="was it cut off on its way?") from error
    if not isinstance(document, dict):
        raise RequestInvalid("the body must be a JSON object")
    return Node(document)
