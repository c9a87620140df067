"""What pydantic and YAML complain about becomes a Problem: place in the file, what was expected, what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from agent.errors import Problem
from agent.kit import marked_yaml

Loc = tuple[str | int, ...]
"""The way to a value, as the file spells it: keys, and indices from 0."""

_SHOWN = 60
_SURROGATES = re.compile(rb"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_WORDS = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


@dataclass(frozen=True)
class Text:
    """A file that was read: its name as the user knows it, and its YAML."""

    name: str
    document: marked_yaml.Document

    def problem(self, loc: Loc, message: str, *, fatal: bool = True) -> Problem:
        """Return a problem with the value at *loc*."""
        line, column = marked_yaml.find(self.document.root, loc)
        return Problem(self.name, line, column, message, fatal)

    def problem_with_key(self, loc: Loc, message: str, *, fatal: bool = True) -> Problem:
        """Return a problem with the last key of *loc* itself, or where that is no key, with the value."""
        node: marked_yaml.Node | None = self.document.root
        for step in loc[:-1]:
            node = _child(node, step)
        key = node.key(str(loc[-1])) if loc and isinstance(node, marked_yaml.Mapping) else None
        if key is None:
            return self.problem(loc, message, fatal=fatal)
        return Problem(self.name, key.line, key.column, message, fatal)


def read_text(file: Path, name: str) -> tuple[Text | None, list[Problem]]:
    """Return the YAML of *file*, or None where there is none, and every problem that concerns the file as a whole."""
    try:
        content = file.read_bytes()
    except OSError as error:
        return None, [Problem(name, 0, 0, f"cannot be read: {error.strerror or error}")]
    if file.suffix == ".json":
        content = _json_for_yaml(content)
    try:
        document = marked_yaml.load(content)
    except marked_yaml.MarkedYamlError as error:
        return None, [Problem(name, error.line, error.column, f"not valid YAML or JSON: {error.message}")]
    problems = [
        Problem(name, twice.line, twice.column, f"the key {twice.key!r} stands here and in line {twice.first_line}")
        for twice in document.duplicates
    ]
    if document.more:
        problems.append(Problem(name, 0, 0, "more than one YAML document: write a list instead of '---' between them"))
    return Text(name, document), problems


def _json_for_yaml(content: bytes) -> bytes:
    """Rewrite the one thing of JSON that YAML cannot read: a character beyond U+FFFF as a pair of escapes."""
    return _SURROGATES.sub(_character, content)


def _character(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        return found[0]
    return bytes.fromhex((found[1] + found[2]).decode()).decode("utf-16-be").encode()


def complaints(error: ValidationError, model: type[BaseModel], text: Text, prefix: Loc = ()) -> list[Problem]:
    """Return what pydantic says of the value at *prefix* in *text*, in the order of the file."""
    problems = [complaint(dict(item), model, text, prefix) for item in error.errors()]
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def complaint(item: dict[str, Any], model: type[BaseModel], text: Text, prefix: Loc = ()) -> Problem:
    """Return one complaint of pydantic's as a problem."""
    loc, kind = tuple(item["loc"]), item["type"]
    if kind == "extra_forbidden":
        return text.problem_with_key((*prefix, *loc), unknown_key(loc, model))
    if kind == "missing":
        return text.problem_with_key((*prefix, *loc[:-1]), f"{dotted(loc)} is missing")
    return text.problem((*prefix, *loc), f"{dotted(loc) or 'here'}: {expectation(item)}")


def unknown_key(loc: Loc, model: type[BaseModel]) -> str:
    """Return the sentence about a key that *model* does not have at *loc*."""
    known = members(model, loc[:-1])
    advice = did_you_mean(str(loc[-1]), known)
    if not advice and known and len(known) <= 12:
        advice = f"; known are {', '.join(known)}"
    return f"unknown key {dotted(loc)}{advice}"


def expectation(item: dict[str, Any]) -> str:
    """Return what pydantic expected, in our words, and what it got where that is short."""
    kind, got, facts = item["type"], item.get("input"), item.get("ctx", {})
    if kind in _WORDS:
        return f"expected {_WORDS[kind]}, not {shown(got)}"
    if kind in _BOUNDS:
        limit, words = _BOUNDS[kind]
        return f"expected {words} {facts[limit]:g}, not {shown(got)}"
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in re.findall(r"'[^']*'", facts["expected"])]
        return f"expected {facts['expected']}, not {shown(got)}{did_you_mean(str(got), choices)}"
    if kind == "string_pattern_mismatch":
        return f"expected a text that matches {facts['pattern']}, not {shown(got)}"
    if kind == "value_error":
        return str(facts["error"])
    message = str(item["msg"])
    return message[:1].lower() + message[1:]


def shown(value: object) -> str:
    """Return *value* as a message shows it: short texts as they are, the rest by kind."""
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def dotted(loc: Iterable[str | int]) -> str:
    """Return a path as people write it: `environment.environmentVariables[0].name`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest of *known*, or nothing where none is close."""
    by_lower = {name.replace("_", "").lower(): name for name in known}
    close = difflib.get_close_matches(word.replace("_", "").lower(), by_lower, n=1, cutoff=0.7)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def members(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that *model* takes at *loc*; empty where any key may stand."""
    here: type[BaseModel] | None = model
    kind: object = model
    for step in loc:
        if isinstance(step, int):
            continue  # `tuple[Shape, ...]` and `Shape` have the same members
        here = _shape_of(kind)
        field = next((field for name, field in _fields(here) if name == step), None) if here else None
        if field is None:
            return []
        kind = field.annotation
    here = _shape_of(kind)
    return [name for name, _ in _fields(here)] if here else []


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _shape_of(kind: object) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for part in get_args(kind) if (found := _shape_of(part))), None)


def _child(node: marked_yaml.Node | None, step: str | int) -> marked_yaml.Node | None:
    if isinstance(node, marked_yaml.Mapping):
        return node.get(str(step))
    if isinstance(node, marked_yaml.Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None
