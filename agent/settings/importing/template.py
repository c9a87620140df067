"""Template: the build projects in a CloudFormation template, in the members of CodeBuild's own API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.errors import Problem, SettingsInvalid
from agent.kit import marked_yaml
from agent.kit.marked_yaml import Node
from agent.settings.importing.found import Found, Note
from agent.settings.importing.intrinsics import NOTHING, Intrinsics, call_of
from agent.settings.problems import Loc, did_you_mean, read_text

PROJECT_TYPE = "AWS::CodeBuild::Project"

_OTHER_NAMES = {"BuildSpec": "buildspec", "S3Logs": "s3Logs", "VCpu": "vCpu"}
_TEMPLATE_ONLY = ("Triggers", "Visibility")
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")
_HINT = "give what CloudFormation takes: a mapping with Resources"


def projects_in_template(file: Path, given: Mapping[str, str]) -> list[Found]:
    """Return every build project of the template *file*; *given* are the values that `--parameter` names.

    Raises SettingsInvalid, with line and column, for what is no template, for one without a project, and for a value
    of *given* that is of no use in it.
    """
    text, problems = read_text(file, str(file))
    if text is None or problems:
        raise SettingsInvalid(problems, hint=_HINT)
    root = text.document.root
    resources = root.get("Resources") if isinstance(root, marked_yaml.Mapping) else None
    if not isinstance(root, marked_yaml.Mapping) or not isinstance(resources, marked_yaml.Mapping):
        raise SettingsInvalid([text.problem((), "not a CloudFormation template: Resources is missing")], hint=_HINT)
    _check_given(root, given, str(file))
    found = [
        _project(key, node, Intrinsics(root, str(file), given))
        for key, node in resources.entries
        if isinstance(node, marked_yaml.Mapping) and _text(node.get("Type")) == PROJECT_TYPE
    ]
    if not found:
        raise SettingsInvalid([text.problem(("Resources",), f"no resource here is an {PROJECT_TYPE}")])
    return found


def _check_given(root: marked_yaml.Mapping, given: Mapping[str, str], file: str) -> None:
    known = [
        key.text
        for section in ("Parameters", "Resources")
        if isinstance(node := root.get(section), marked_yaml.Mapping)
        for key, _ in node.entries
    ]
    for name in given:
        if not name.startswith("AWS::") and name.partition(".")[0] not in known:
            message = f"--parameter {name}: the template has no parameter or resource of that name"
            raise SettingsInvalid([Problem(file, 0, 0, message + did_you_mean(name, known))])


def _project(key: marked_yaml.Scalar, node: marked_yaml.Mapping, functions: Intrinsics) -> Found:
    properties = node.get("Properties")
    if not isinstance(properties, marked_yaml.Mapping) or call_of(properties):
        message = f"{key.text}: Properties is missing, or no mapping"
        raise SettingsInvalid([Problem(functions.file, key.line, key.column, message)])
    reader = _Reader(functions)
    members = {name: value for name, value in reader.members(properties, ()) if name != "triggers"}
    notes = reader.notes
    if triggers := _triggers(properties.get("Triggers"), reader):
        members["webhook"] = triggers
    if not isinstance(members.get("name"), str):
        members["name"] = key.text
        why = "the template leaves the name to AWS, so the project bears its logical name here"
        notes.append(Note(("name",), "decide", why))
    origin = f"{key.text} in {functions.file}"
    return Found(members, origin, functions.file, key.line, key.column, tuple(notes), reader.places)


def _triggers(node: Node | None, reader: _Reader) -> dict[str, Any] | None:
    """Return `webhook`, which a template calls Triggers, or None where it wants none."""
    if node is None:
        return None
    found = reader.value(node, ("webhook",))
    if not isinstance(found, dict) or str(found.pop("webhook", "")).lower() != "true":
        return None
    return found


class _Reader:
    """Reads the properties of a resource, and keeps where each stood and what is open about it."""

    def __init__(self, functions: Intrinsics) -> None:
        self._functions = functions
        self.notes: list[Note] = []
        self.places: dict[Loc, tuple[int, int]] = {}

    def members(self, node: marked_yaml.Mapping, loc: Loc) -> Iterator[tuple[str, Any]]:
        """Yield the members of a mapping under CodeBuild's own names."""
        for key, item in node.entries:
            name = member_name(key.text)
            if loc == () and key.text in _TEMPLATE_ONLY:
                continue
            value = self.value(item, (*loc, name))
            if value is not NOTHING:
                yield name, value

    def value(self, node: Node, loc: Loc) -> Any:
        """Return what *node* comes to, with the names of members as CodeBuild writes them."""
        self.places[loc] = (node.line, node.column)
        if call_of(node) is None:
            if isinstance(node, marked_yaml.Mapping):
                return self._decided(dict(self.members(node, loc)), loc)
            if isinstance(node, marked_yaml.Sequence):
                return self._items(node, loc)
        return self._evaluated(node, loc)

    def _items(self, node: marked_yaml.Sequence, loc: Loc) -> list[Any]:
        values: list[Any] = []
        for item in node.items:
            value = self.value(item, (*loc, len(values)))
            if value is not NOTHING:
                values.append(value)
        return values

    def _evaluated(self, node: Node, loc: Loc) -> Any:
        functions = self._functions
        functions.open.clear()
        value = functions.value(node)
        for one in functions.open:
            text = f"{one.what} has no value here: {one.why}"
            if one.can_be_given:
                text += f" (--parameter {one.what}=VALUE gives it one)"
            self.notes.append(Note(loc, "decide", text))
        return _renamed(value)

    def _decided(self, value: dict[str, Any], loc: Loc) -> dict[str, Any]:
        """Return an environment variable whose value CloudFormation would have looked up as one that the build does."""
        match = _DYNAMIC.fullmatch(str(value.get("value", "")))
        if loc[-2:-1] != ("environmentVariables",) or match is None or value.get("type", "PLAINTEXT") != "PLAINTEXT":
            return value
        if match[1] != "secretsmanager":
            kind, name = "PARAMETER_STORE", match[2].partition(":")[0]
        else:
            secret, _, rest = match[2].partition(":SecretString")
            kind, name = "SECRETS_MANAGER", f"{secret}:{rest.split(':')[1]}" if rest.strip(":") else secret
        self.notes.append(Note(loc, "differs", "CloudFormation looked this up once; here each build does"))
        return {**value, "type": kind, "value": name}


def member_name(name: str) -> str:
    """Return the name that CodeBuild's API has for a property."""
    return _OTHER_NAMES.get(name) or name[:1].lower() + name[1:]


def _renamed(value: Any) -> Any:
    """Return a value that came out of a function, with the names of its members as CodeBuild writes them."""
    if isinstance(value, dict):
        return {member_name(key): _renamed(item) for key, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, marked_yaml.Scalar) else ""
