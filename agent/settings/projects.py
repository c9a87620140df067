"""Project files become Projects; a mistake stops the project it stands in and no other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import Problem, SettingsInvalid
from agent.kit import marked_yaml
from agent.model.project import Project
from agent.settings.checks import findings
from agent.settings.problems import Loc, Text, complaints, dotted, read_text, shown

SUFFIXES = (".yml", ".yaml", ".json")
READ_ONLY = frozenset(
    {
        "arn",
        "created",
        "lastModified",
        "badge",
        "projectVisibility",
        "publicProjectAlias",
        "resourceAccessRole",
        "buildBatchConfig",
    }
)
"""Members of CodeBuild's `Project` that its answers hold and we have no use for: accepted and ignored."""
WEBHOOK_READ_ONLY = frozenset(
    {
        "url",
        "payloadUrl",
        "manualCreation",
        "lastModifiedSecret",
        "status",
        "statusMessage",
    }
)
"""Members of CodeBuild's `Webhook` of the same kind."""

_WRAPPERS = ("projects", "projectsNotFound")


@dataclass(frozen=True)
class Entry:
    """One project of a file, as far as it could be read. `project` is None when a problem is fatal."""

    name: str | None
    project: Project | None
    problems: tuple[Problem, ...]
    line: int
    column: int


@dataclass(frozen=True)
class ProjectFile:
    """What one file holds. `broken`: the file as a whole cannot be read, so nothing is known of its projects."""

    name: str
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    broken: bool


@dataclass(frozen=True)
class ProjectSet:
    """The projects of a directory by name, and everything that is wrong or odd in its files."""

    projects: dict[str, Project]
    problems: tuple[Problem, ...]


def load_projects(directory: Path) -> ProjectSet:
    """Return every project of *directory* that is right, and every problem of the others. Never raises for a mistake.

    Of two projects with one name that of the file first in the alphabet holds.
    """
    files, problems = project_files(directory)
    read = [read_project_file(file) for file in files]
    projects: dict[str, Project] = {}
    owners: dict[str, str] = {}
    for file in read:
        problems += file.problems
        for entry in file.entries:
            problems += entry.problems
            if entry.project is None:
                continue
            if entry.project.name in projects:
                problems.append(taken(file, entry, owners[entry.project.name]))
                continue
            projects[entry.project.name] = entry.project
            owners[entry.project.name] = file.name
    return ProjectSet(projects, tuple(problems))


def projects_in(file: Path) -> dict[str, Project]:
    """Return the projects of one file by name. Raises SettingsInvalid with every mistake at once."""
    read = read_project_file(file)
    problems = [*read.problems, *(problem for entry in read.entries for problem in entry.problems)]
    if any(problem.fatal for problem in problems):
        raise SettingsInvalid(problems, hint="mend the file; `buildspecd projects check` shows all problems")
    return {entry.project.name: entry.project for entry in read.entries if entry.project}


def project_files(directory: Path) -> tuple[list[Path], list[Problem]]:
    """Return the project files of *directory* in alphabetical order, without hidden ones (editors' leftovers)."""
    try:
        files = sorted(
            file for file in directory.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")
        )
    except OSError as error:
        return [], [Problem(str(directory), 0, 0, f"no project is read from here: {error.strerror}", fatal=False)]
    return files, []


def read_project_file(file: Path) -> ProjectFile:
    """Return what *file* holds: one project, a list of them, or the answer of `aws codebuild batch-get-projects`."""
    name = str(file)
    text, problems = read_text(file, name)
    if text is None:
        return ProjectFile(name, (), tuple(problems), broken=True)
    found, wrong = places(text)
    problems += wrong
    if problems:  # of a key that stands twice, nobody knows which was meant; likewise with the rest of these
        return ProjectFile(name, (), tuple(problems), broken=True)
    return ProjectFile(name, tuple(_entry(text, loc) for loc in found), tuple(problems), broken=False)


def taken(file: ProjectFile, entry: Entry, owner: str) -> Problem:
    """Return the problem of a project whose name another place has already."""
    where = "in this file" if owner == file.name else f"in {owner}"
    message = f"a project {entry.name!r} stands already {where}; this one is not used"
    return Problem(file.name, entry.line, entry.column, message)


def places(text: Text) -> tuple[list[Loc], list[Problem]]:
    """Return where in *text* the projects stand."""
    root = text.document.root
    if root is None or (isinstance(root, marked_yaml.Scalar) and root.is_null):
        return [], [Problem(text.name, 0, 0, "the file is empty: it should hold a project")]
    if isinstance(root, marked_yaml.Sequence):
        return [(index,) for index in range(len(root.items))], []
    if isinstance(root, marked_yaml.Scalar):
        return [], [text.problem((), f"expected a project, not {shown(root.text)}")]
    listed = root.get("projects")
    if listed is None or root.get("name") is not None:
        return [()], []
    problems = [
        text.problem_with_key((key.text,), f"unknown key {key.text}; beside projects only projectsNotFound may stand")
        for key, _ in root.entries
        if key.text not in _WRAPPERS
    ]
    if not isinstance(listed, marked_yaml.Sequence):
        return [], [*problems, text.problem(("projects",), "projects: expected a list")]
    return [("projects", index) for index in range(len(listed.items))], problems


def _entry(text: Text, loc: Loc) -> Entry:
    """Return the project at *loc*."""
    line, column = marked_yaml.find(text.document.root, loc)
    data = marked_yaml.to_plain(text.document.root)
    for step in loc:
        data = data[step]  # type: ignore[index]  # `places` has seen that it is there
    if not isinstance(data, dict):
        problem = text.problem(loc, f"expected a project, not {shown(data)}")
        return Entry(None, None, (problem,), line, column)
    name = data.get("name")
    known = name if isinstance(name, str) else None
    problems: list[Problem] = []
    try:
        project = Project.model_validate(_without_null(_without_read_only(data)))
    except ValidationError as error:
        return Entry(known, None, (*problems, *complaints(error, Project, text, loc)), line, column)
    problems += [
        text.problem((*loc, *found.loc), f"{dotted(found.loc)}: {found.message}", fatal=found.fatal)
        for found in findings(project)
    ]
    usable = not any(problem.fatal for problem in problems)
    return Entry(known, project if usable else None, tuple(problems), line, column)


def _without_read_only(data: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key not in READ_ONLY}
    if isinstance(kept.get("webhook"), dict):
        kept["webhook"] = {key: value for key, value in kept["webhook"].items() if key not in WEBHOOK_READ_ONLY}
    return kept


def _without_null(data: Any) -> Any:
    """Leave out every member that is null: in CodeBuild's shapes null and absent are one."""
    if isinstance(data, dict):
        return {key: _without_null(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_without_null(item) for item in data]
    return data
