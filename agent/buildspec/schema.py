"""Schema: the grammar as a JSON Schema, so that editors complete, explain and check a buildspec while it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.buildspec import grammar
from agent.buildspec.grammar import Key, Keys, Kind

DIALECT = "http://json-schema.org/draft-07/schema#"
TITLE = "buildspecd: a buildspec of AWS CodeBuild"

Schema = dict[str, Any]

_SCALARS = ["string", "number", "boolean", "null"]
"""What editors take an unquoted text for: `NO` for a boolean, `1.10` for a number, nothing for null."""
_YES_NO = r"^\s*([Yy][Ee][Ss]|[Nn][Oo]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Oo][Nn]|[Oo][Ff][Ff]|[Yy]|[Nn])\s*$"
_NUMBER = r"^\s*[0-9]{1,9}\s*$"
_VERSION_NUMBERS = [0.2, 0.1]


def buildspec_schema() -> Schema:
    """Return the schema of a buildspec, in draft-07, which all editors understand.

    Stricter than a build: what a build only warns of (unknown keys, one text for a list) is underlined too.
    """
    old_only = sorted(grammar.OLD_ROOT.keys() - grammar.ROOT.keys())
    root = _section(grammar.OLD_ROOT, _with_old_artifacts)
    del root["type"]
    no_type: Schema = {"properties": {"type": False}}
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "type": "object",
        **root,
        "anyOf": [{"required": ["phases"]}, {"required": ["batch"]}],
        "if": {"properties": {"version": {"enum": [0.1, "0.1"]}}, "required": ["version"]},
        "else": {
            "properties": {
                **dict.fromkeys(old_only, False),
                "artifacts": {"properties": {"type": False, "secondary-artifacts": {"additionalProperties": no_type}}},
            }
        },
    }


def _with_old_artifacts(name: str, key: Key) -> Schema:
    """Return the schema of a key of the root: `artifacts` with what version 0.1 knows too."""
    if name != "artifacts":
        return _value(key)
    secondary = grammar.OLD_ARTIFACTS["secondary-artifacts"]
    inner = _section(
        grammar.OLD_ARTIFACTS,
        lambda inner_name, inner_key: (
            {"description": secondary.help, **_named(secondary, grammar.OLD_SECONDARY_ARTIFACT)}
            if inner_name == "secondary-artifacts"
            else _value(inner_key)
        ),
    )
    return {"description": key.help, **inner, "type": ["object", "null"]}


def _section(keys: Keys, value: Callable[[str, Key], Schema] | None = None) -> Schema:
    """Return the schema of a map with these *keys* and no others."""
    make = value or (lambda _, key: _value(key))
    required = [name for name, key in keys.items() if key.required]
    schema: Schema = {
        "type": "object",
        "properties": {name: make(name, key) for name, key in keys.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    if keys is grammar.BATCH:
        schema["oneOf"] = [{"required": [name]} for name in grammar.BATCH_KINDS]
    if keys is grammar.BATCH_ENV:
        schema["not"] = {"required": ["compute-type", "fleet"]}
    if keys is grammar.CACHE:
        schema["dependencies"] = {"fallback-keys": ["key"]}
    return schema


def _named(key: Key, keys: Keys) -> Schema:
    """Return the schema of a map of sections under free names."""
    schema: Schema = {"type": ["object", "null"], "additionalProperties": _section(keys)}
    if key.pattern:
        schema["propertyNames"] = {"pattern": f"^{key.pattern}$"}
    if key.most:
        schema["maxProperties"] = key.most
    return schema


def _value(key: Key) -> Schema:
    """Return the schema of what stands behind *key*. Whatever may be left out may also be empty."""
    schema = _KINDS[key.kind](key)
    if key.required and schema.get("type") == _SCALARS:
        schema["type"] = _SCALARS[:-1]
    return {"description": key.help, **schema}


def _version(_: Key) -> Schema:
    return {"enum": [*_VERSION_NUMBERS, *map(str, _VERSION_NUMBERS)]}


def _text(key: Key) -> Schema:
    scalar: Schema = {"type": _SCALARS}
    if key.values and not key.pattern:
        words = "|".join(map(_in_any_case, key.values))
        return {"anyOf": [{"enum": [*key.values, None]}, {"type": "string", "pattern": rf"^\s*({words})\s*$"}]}
    if key.pattern:
        scalar["pattern"] = f"^{key.pattern}$"
    if key.values:
        return {"anyOf": [{"enum": list(key.values)}, scalar]}
    return scalar


def _in_any_case(word: str) -> str:
    """Return a pattern for *word*; JSON Schema knows no flag for it."""
    return "".join(f"[{sign.upper()}{sign.lower()}]" if sign.isalpha() else sign for sign in word)


def _yes_no(_: Key) -> Schema:
    words: Schema = {"type": ["boolean", "string", "null"], "pattern": _YES_NO}
    return {"anyOf": [{"enum": ["yes", "no"]}, words]}


def _number(key: Key) -> Schema:
    number = {"type": "integer", "minimum": key.least, "maximum": key.most}
    return {"anyOf": [number, {"type": "string", "pattern": _NUMBER}]}


def _texts(key: Key) -> Schema:
    items: Schema = {"type": _SCALARS[:-1]}
    texts: Schema = {"type": "array" if key.required else ["array", "null"], "items": items}
    if key.least:
        texts["minItems"] = key.least
    if key.most:
        texts["maxItems"] = key.most
    return {"anyOf": [texts, items]} if key.one_will_do else texts


def _table(key: Key) -> Schema:
    values: Schema = {"type": _SCALARS}
    if key.pattern:
        values["pattern"] = f"^{key.pattern}$"
    schema: Schema = {"type": ["object", "null"], "additionalProperties": values}
    if key.values:
        schema["properties"] = dict.fromkeys(key.values, values)
    return schema


def _table_of_lists(_: Key) -> Schema:
    lists = {"type": "array", "items": {"type": _SCALARS[:-1]}, "minItems": 1}
    return {"type": ["object", "null"], "additionalProperties": lists}


def _one_section(key: Key) -> Schema:
    section = _section(key.keys)
    if key.required:
        return section
    # `oneOf` and `not` would also hold for no value at all.
    choice = {word: section.pop(word) for word in ("oneOf", "not") if word in section}
    section["type"] = ["object", "null"]
    return {**section, "if": {"type": "object"}, "then": choice} if choice else section


def _sections(key: Key) -> Schema:
    return {"type": "array", "items": _section(key.keys), "minItems": key.least, "maxItems": key.most}


_KINDS: dict[Kind, Callable[[Key], Schema]] = {
    Kind.VERSION: _version,
    Kind.TEXT: _text,
    Kind.YES_NO: _yes_no,
    Kind.NUMBER: _number,
    Kind.TEXTS: _texts,
    Kind.TABLE: _table,
    Kind.TABLE_OF_LISTS: _table_of_lists,
    Kind.SECTION: _one_section,
    Kind.NAMED_SECTIONS: lambda key: _named(key, key.keys),
    Kind.SECTIONS: _sections,
}
