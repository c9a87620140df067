"""Imported: the file of one project that was found, with a comment at everything that is to be decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agent.errors import Problem, SettingsInvalid
from agent.model.project import Project
from agent.settings.checks import findings
from agent.settings.importing.decisions import NOWHERE, notes_on, translated_members
from agent.settings.importing.found import Found, Note
from agent.settings.importing.intrinsics import PLACEHOLDER
from agent.settings.importing.writing import written
from agent.settings.problems import Loc, dotted, expectation
from agent.settings.projects import READ_ONLY, WEBHOOK_READ_ONLY

_MOST_MENDINGS = 1000


@dataclass(frozen=True)
class Imported:
    """A project file: the name of its project, its text, and all that was left out or is still wrong."""

    name: str
    text: str
    to_decide: int
    problems: tuple[Problem, ...]


def imported(found: Found) -> Imported:
    """Return the file for *found*. Raises SettingsInvalid where it has no name that a project can have."""
    raw = _without_null(found.members)
    members, notes = translated_members(raw)
    mending = _Mending(found, _known(members))
    project = mending.checked()
    known = [note for note in found.notes if note.loc[:1] not in {(name,) for name in READ_ONLY}]
    said = [*known, *notes_on(raw), *notes, *mending.notes]
    document = project.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    opening = [
        f"Imported from {found.origin} by `buildspecd projects import`.",
        'What is marked "decide" is yours to decide before the first build; "differs" works in another way here.',
    ]
    text = written(_without_empty(document), said, opening)
    return Imported(project.name, text, sum(note.weight == "decide" for note in said), tuple(mending.problems))


class _Mending:
    """Takes out what our model does not take, until it takes the rest; each time with a note and a warning."""

    def __init__(self, found: Found, members: dict[str, Any]) -> None:
        self._found = found
        self._members = members
        self.notes: list[Note] = []
        self.problems: list[Problem] = []

    def tell(self, loc: Loc, weight: Any, text: str, *, fatal: bool = False) -> None:
        """Say *text* in the file and to the user."""
        self.notes.append(Note(loc, weight, text))
        self.problems.append(self._found.problem(loc, text, fatal=fatal))

    def checked(self) -> Project:
        """Return the project, which passes `projects check`. Raises SettingsInvalid, see `mended`."""
        for _ in range(_MOST_MENDINGS):
            project = self.mended()
            finding = next((finding for finding in findings(project) if finding.fatal), None)
            if finding is None:
                return project
            self.tell(finding.loc, "decide", f"{dotted(finding.loc)}: {finding.message}")
            self._settle(finding.loc)
        raise SettingsInvalid([self._found.problem((), "nothing like a project of CodeBuild's")])

    def _settle(self, loc: Loc) -> None:
        """Put something that passes in the place of what does not."""
        groups = self._members.get("webhook", {}).get("filterGroups", [])
        if loc[:2] == ("webhook", "filterGroups") and len(loc) > 2 and isinstance(loc[2], int):
            # A group that is gone lets nothing in; but where none is left, everything would come in.
            groups[loc[2]] = _copied(_NEVER)
        elif loc == ("source", "location") and self._members["source"].get("type") != "S3":
            _put(self._members, loc, NOWHERE)
        elif loc in _PASSING:
            _put(self._members, loc, _PASSING[loc])
        else:
            self._remove(loc)

    def mended(self) -> Project:
        """Return the project. Raises SettingsInvalid where no name is in it, or it cannot be mended."""
        for _ in range(_MOST_MENDINGS):
            try:
                return Project.model_validate(self._members)
            except ValidationError as error:
                first = error.errors()[0]
            loc, item = first["loc"], dict(first)
            if loc == ("name",):
                message = f"name: {expectation(item)}" if item["type"] != "missing" else "name is missing"
                raise SettingsInvalid([self._found.problem(loc, message)], hint="a project needs a name of its own")
            self._mend(loc, item)
        raise SettingsInvalid([self._found.problem((), "nothing like a project of CodeBuild's")])

    def _mend(self, loc: Loc, item: dict[str, Any]) -> None:
        if item["type"] != "missing":
            words = "it is not known here" if item["type"] == "extra_forbidden" else expectation(item)
            self.tell(loc, "left out", f"{dotted(loc)}: {words}")
            self._remove(loc)
        elif loc in _STAND_INS:
            self.tell(loc, "decide", f"{dotted(loc)} is missing")
            _put(self._members, loc, _STAND_INS[loc])
        else:
            self.tell(loc[:-1], "left out", f"{dotted(loc[:-1])}: {loc[-1]} is missing in it")
            self._remove(loc[:-1])

    def _remove(self, loc: Loc) -> None:
        """Take out what is at *loc*, or what of it is there."""
        inside: Any = self._members
        way: list[tuple[Any, Any]] = []
        step: Any
        for step in loc:
            if not isinstance(inside, dict | list) or (isinstance(inside, dict) and step not in inside):
                break
            way.append((inside, step))
            inside = inside[step]
        if way:
            holder, step = way[-1]
            del holder[step]


_STAND_INS: dict[Loc, Any] = {
    ("source",): {"type": "GIT", "location": NOWHERE},
    ("source", "type"): "GIT",
    ("environment",): {"image": f"{PLACEHOLDER}image"},
    ("environment", "image"): f"{PLACEHOLDER}image",
}
"""What a project cannot do without -> what stands there until a person decides."""
_NEVER = [{"type": "EVENT", "pattern": "PUSH"}, {"type": "HEAD_REF", "pattern": f"^{PLACEHOLDER}ref$"}]
_PASSING: dict[Loc, Any] = {
    ("source", "location"): f"{PLACEHOLDER}bucket/{PLACEHOLDER}key.zip",
    ("source", "buildspec"): f"version: 0.2\nphases:\n  build:\n    commands:\n      - echo {PLACEHOLDER}commands\n",
    ("artifacts", "location"): f"{PLACEHOLDER}bucket",
    ("cache", "location"): f"{PLACEHOLDER}bucket/cache",
    ("logsConfig", "s3Logs", "location"): f"{PLACEHOLDER}bucket/logs",
    ("environment", "type"): "LINUX_CONTAINER",
    ("environment", "computeType"): "BUILD_GENERAL1_SMALL",
}
"""Where `projects check` says no -> what it lets pass until a person decides."""


def _put(members: dict[str, Any], loc: Loc, value: Any) -> None:
    for step in loc[:-1]:
        members = members[str(step)]
    members[str(loc[-1])] = dict(value) if isinstance(value, dict) else value


def _known(members: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of *members* without those that only an answer of CodeBuild's has."""
    kept = {name: _copied(value) for name, value in members.items() if name not in READ_ONLY}
    if isinstance(kept.get("webhook"), dict):
        hook = {name: value for name, value in kept["webhook"].items() if name not in WEBHOOK_READ_ONLY}
        kept["webhook"] = {name: value for name, value in hook.items() if name != "secret"}
    return kept


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_null(item) for name, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty lists: an answer of CodeBuild's has one wherever something may be."""
    kept: dict[str, Any] = {}
    for name, value in document.items():
        inner = _without_empty(value) if isinstance(value, dict) else value
        if inner not in ([], {}) or name in ("webhook", "value"):
            kept[name] = inner
    return kept
