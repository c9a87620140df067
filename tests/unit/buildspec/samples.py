"""Samples: for every key of the grammar a document in which it is right, and one in which it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from agent.buildspec import grammar
from agent.buildspec.grammar import Key, Keys, Kind

Path = tuple[str, ...]

_RIGHT: dict[Kind, Any] = {
    Kind.VERSION: 0.2,
    Kind.TEXT: "abc",
    Kind.YES_NO: "yes",
    Kind.NUMBER: 3,
    Kind.TEXTS: ["abc"],
    Kind.TABLE: {"A": "abc"},
    Kind.TABLE_OF_LISTS: {"A": ["abc"]},
}
_WRONG: dict[Kind, Any] = {
    Kind.VERSION: [0.2],
    Kind.TEXT: {"a": "b"},
    Kind.YES_NO: "perhaps",
    Kind.NUMBER: "many",
    Kind.TEXTS: {"a": "b"},
    Kind.TABLE: ["a"],
    Kind.TABLE_OF_LISTS: ["a"],
    Kind.SECTION: ["a"],
    Kind.NAMED_SECTIONS: ["a"],
    Kind.SECTIONS: {"a": "b"},
}
_BESIDE: dict[str, dict[str, Any]] = {
    "fallback-keys": {"key": "k"},
    "fast-fail": {"build-fanout": {"parallelism": 2}},
    "static": {"dynamic": {"buildspec": ["a.yml"]}},
}
"""What must stand beside a key for it to make sense, apart from keys that are required."""
_FULL: dict[str, Any] = {
    "batch": {"build-fanout": {"parallelism": 2}},
    "dynamic": {"buildspec": ["a.yml"]},
    "phases": {"build": {"commands": ["make"]}},
}
"""Sections that make no sense when only what is required stands in them."""

_ANOTHER = {"identifier": "def"}
"""A second build, for which the first can wait."""


@dataclass(frozen=True)
class Sample:
    """One key in a document that is otherwise right."""

    path: Path
    key: Key
    right: dict[str, Any]
    wrong: dict[str, Any]


def samples() -> Iterator[Sample]:
    """Yield a sample of every key, those of version 0.1 included."""
    yield from _below((), grammar.ROOT, lambda inner: {**document("0.2"), **inner})
    old = {"environment_variables": grammar.OLD_ROOT["environment_variables"]}
    yield from _below((), old, lambda inner: {**document("0.1"), **inner})
    kind = {"type": grammar.OLD_ARTIFACTS["type"]}
    yield from _below(("artifacts",), kind, lambda inner: {**document("0.1"), "artifacts": {"files": ["a"], **inner}})


def document(version: str) -> dict[str, Any]:
    """Return the smallest document that runs something."""
    return {"version": float(version), "phases": {"build": {"commands": ["make"]}}}


def right(name: str, key: Key) -> Any:
    """Return a value that is right for *key*, with nothing in it that could be left out."""
    if name in _FULL:
        return _FULL[name]
    if name == "depend-on":
        return ["def"]
    if key.kind is Kind.TEXT and key.values:
        return key.values[-1]
    if key.kind in _RIGHT:
        return _RIGHT[key.kind]
    required = _required(key.keys)
    if key.kind is Kind.SECTION:
        return required
    return {"abc": required} if key.kind is Kind.NAMED_SECTIONS else [required]


def _required(keys: Keys, besides: str = "") -> dict[str, Any]:
    return {name: right(name, key) for name, key in keys.items() if key.required and name != besides}


def _below(path: Path, keys: Keys, around: Any) -> Iterator[Sample]:
    for name, key in keys.items():
        others = {**_required(keys, name), **_BESIDE.get(name, {})}
        if keys is grammar.BATCH_DYNAMIC and name == "env":
            others["buildspec"] = ["a.yml"]
        here = lambda value, name=name, others=others: around({**others, name: value})  # noqa: E731
        yield Sample((*path, name), key, here(right(name, key)), here(_WRONG[key.kind]))
        if key.kind is Kind.SECTION:
            yield from _below((*path, name), key.keys, here)
        elif key.kind is Kind.NAMED_SECTIONS:
            yield from _below((*path, name, "abc"), key.keys, lambda value, here=here: here({"abc": value}))
        elif key.kind is Kind.SECTIONS:
            yield from _below((*path, name, "0"), key.keys, lambda value, here=here: here([value, _ANOTHER]))


class _Editor(yaml.SafeLoader):
    """Reads YAML as editors do: a date is a text."""


_Editor.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_an_editor_reads(text: str) -> Any:
    """Return the first document of *text* with its scalars typed."""
    return next(iter(yaml.load_all(text, Loader=_Editor)))
