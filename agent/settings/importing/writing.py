"""Writing: a project as YAML with comments, the same text for the same project. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from agent.settings.importing.found import Note
from agent.settings.problems import Loc

_PLAIN = re.compile(r"[A-Za-z/^][A-Za-z0-9_/^$.+()*:@=%~-]*(?: [A-Za-z0-9_/^$.+()*@=%~-]+)*")
_NOT_TEXT = re.compile(
    r"(?i)(true|false|yes|no|on|off|y|n|null|~|\.inf|\.nan|[-+]?[0-9][0-9_.:eExXa-f]*(?:[-tT ][0-9:.zZ+-]*)*)"
)
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029\ufeff]")
_WIDTH = 118


def written(document: dict[str, Any], notes: Sequence[Note], opening: Sequence[str]) -> str:
    """Return *document* as YAML: *opening* as comments at its top, each of *notes* above the member that it is about.

    A note about a member that is not there stands above the nearest one around it, at the top at last.
    """
    placed: dict[Loc, list[str]] = {}
    for note in notes:
        loc = _nearest(document, note.loc)
        placed.setdefault(loc, []).append(str(note))
    lines = [line for text in (*opening, *placed.pop((), [])) for line in _comment(text, "")]
    lines += _mapping(document, (), "", placed)
    return "\n".join(lines) + "\n"


def as_item(text: str) -> str:
    """Return the YAML of a mapping as that of one item of a list; where several projects go into one file."""
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    shifted = [f"  {line}" if line else "" for line in lines[first + 1 :]]
    return "\n".join([*lines[:first], f"- {lines[first]}", *shifted]) + "\n"


def _nearest(document: Any, loc: Loc) -> Loc:
    here: Any = document
    for end, step in enumerate(loc):
        known = range(len(here)) if isinstance(here, list) else here if isinstance(here, dict) else ()
        if step not in known:
            return loc[:end]
        here = here[step]
    return loc


def _comment(text: str, indent: str) -> Iterator[str]:
    printable = _UNPRINTABLE.sub("?", " ".join(text.split()))
    for line in textwrap.wrap(printable, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _mapping(value: dict[str, Any], loc: Loc, indent: str, notes: dict[Loc, list[str]]) -> Iterator[str]:
    for name, item in value.items():
        here = (*loc, name)
        for note in dict.fromkeys(notes.get(here, ())):
            yield from _comment(note, indent)
        yield from _member(f"{indent}{_scalar(name)}:", item, here, indent, notes)


def _member(key: str, item: Any, loc: Loc, indent: str, notes: dict[Loc, list[str]]) -> Iterator[str]:
    if isinstance(item, dict) and item:
        yield key
        yield from _mapping(item, loc, f"{indent}  ", notes)
    elif isinstance(item, list) and item:
        yield key
        yield from _items(item, loc, f"{indent}  ", notes)
    elif isinstance(item, str) and _is_block(item):
        yield f"{key} |{'-' if not item.endswith(chr(10)) else ''}"
        for line in item.removesuffix("\n").split("\n"):
            yield f"{indent}  {line}" if line else ""
    else:
        yield f"{key} {_scalar(item)}"


def _items(value: list[Any], loc: Loc, indent: str, notes: dict[Loc, list[str]]) -> Iterator[str]:
    for index, item in enumerate(value):
        here = (*loc, index)
        for note in dict.fromkeys(notes.get(here, ())):
            yield from _comment(note, indent)
        if isinstance(item, dict | list) and item:
            inner = list(_nested(item, here, f"{indent}  ", notes))
            first = next(place for place, line in enumerate(inner) if not line.lstrip().startswith("#"))
            yield from (line.removeprefix("  ") for line in inner[:first])
            yield f"{indent}- {inner[first].strip()}"
            yield from inner[first + 1 :]
        else:
            yield f"{indent}- {_scalar(item)}"


def _nested(item: Any, loc: Loc, indent: str, notes: dict[Loc, list[str]]) -> Iterator[str]:
    return _mapping(item, loc, indent, notes) if isinstance(item, dict) else _items(item, loc, indent, notes)


def _is_block(text: str) -> bool:
    """Whether *text* can be written line by line, as a person would; a space or tab in the wrong place forbids it."""
    body = text.removesuffix("\n")
    return (
        "\n" in body
        and not _UNPRINTABLE.search(text)
        and not body.startswith((" ", "\n", "\t"))
        and not body.endswith("\n")
        and "\t" not in body
        and not any(line != line.rstrip() for line in body.split("\n"))
    )


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list | dict):
        return json.dumps(value)
    text = str(value)
    plain = _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text) and not text.endswith(":") and ": " not in text
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), quoted).replace("\x7f", "\\x7f")


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04x}"
