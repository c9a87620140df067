"""The settings and projects that hold now; a broken change keeps the last good state of its file and says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from agent.daemon.control import ProjectState
from agent.errors import Problem, ProjectUnknown, SettingsInvalid
from agent.model.build import Build
from agent.model.project import Project
from agent.settings.configsource import check_revision, followed
from agent.settings.load import load_settings, settings_file
from agent.settings.problems import did_you_mean
from agent.settings.projects import ProjectFile, project_files, read_project_file, taken
from agent.settings.schema import Settings


@dataclass(frozen=True)
class Change:
    """What a reload brought, by project name, and every problem that the files have now."""

    added: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    settings: bool = False
    problems: tuple[Problem, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.settings)


@dataclass(frozen=True)
class _State:
    """One consistent view. `files` maps a file to the projects that hold because of it, `standings` a project's name,
    also that of one that never was right, to its file and its problems.
    """

    settings: Settings
    files: Mapping[str, Mapping[str, Project]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    standings: Mapping[str, tuple[str, tuple[Problem, ...]]] = field(default_factory=dict)

    def projects(self) -> dict[str, Project]:
        return {name: project for owned in self.files.values() for name, project in owned.items()}


class LiveConfiguration:
    """Holds the current settings and projects. Any thread may call any method; what it gets never changes under it.

    *given* is the file that the user named; None: the one of `settings_file`. The first reading is strict about
    agent.yml (UsageError where it is missing, SettingsInvalid) and lenient about project files, as every later one is:
    their mistakes are `problems`. `settings` follows agent.yml, and whoever built something from an older value decides
    whether it can follow.
    """

    def __init__(self, given: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._file = settings_file(given, self._environ)
        self._reloading = threading.Lock()
        loaded, wrong = followed(load_settings(self._file, self._environ), self._environ)
        self._state = _read_projects(_State(loaded.settings), (*wrong, *loaded.warnings))
        self._projects: Mapping[str, Project] = MappingProxyType(self._state.projects())

    @property
    def settings(self) -> Settings:
        """The last good settings."""
        return self._state.settings

    @property
    def projects(self) -> Mapping[str, Project]:
        """The last good projects by name, as they are at this moment."""
        return self._projects

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong or odd in the files, as of the last reading."""
        return self._state.problems

    @property
    def file(self) -> Path | None:
        """The agent.yml in use; None: there is none."""
        return self._file

    def project(self, name: str) -> Project:
        """Return a project; *name* may be its ARN. Raises ProjectUnknown."""
        projects = self._projects
        found = projects.get(name) or projects.get(name.rpartition(":project/")[2])
        if found is None:
            advice = did_you_mean(name, projects)
            raise ProjectUnknown(f"there is no project {name!r}{advice}", hint="`buildspecd projects list` shows them")
        return found

    def states(
        self, last_build: Callable[[str], Build | None], troubles: Mapping[str, str] | None = None
    ) -> list[ProjectState]:
        """Return how every project stands, also those that never were right, by name.

        *troubles* says what went wrong with a project outside of its file; it stands behind the file's problems.
        """
        state = self._state
        projects = state.projects()
        troubles = troubles or {}
        return [
            ProjectState(
                name=name,
                project=projects.get(name),
                file=file,
                problems=(*map(str, problems), *([troubles[name]] if troubles.get(name) else [])),
                last_build=last_build(name),
            )
            for name, (file, problems) in sorted(state.standings.items())
        ]

    def reload(self) -> Change:
        """Read all files again and take up what is right in them."""
        with self._reloading:
            before = self._state
            settings, problems = self._read_settings(before.settings)
            state = _read_projects(replace(before, settings=settings), problems)
            old, new = before.projects(), state.projects()
            self._state = state
            self._projects = MappingProxyType(new)
        return Change(
            added=frozenset(new.keys() - old.keys()),
            changed=frozenset(name for name in new.keys() & old.keys() if new[name] != old[name]),
            removed=frozenset(old.keys() - new.keys()),
            settings=settings != before.settings,
            problems=state.problems,
        )

    def _read_settings(self, current: Settings) -> tuple[Settings, tuple[Problem, ...]]:
        try:
            loaded, wrong = followed(load_settings(self._file, self._environ), self._environ)
        except SettingsInvalid as error:
            return current, error.problems
        return loaded.settings, (*wrong, *loaded.warnings)

    def check_revision(self, checkout: Path) -> list[Problem]:
        """Return everything that is wrong or odd with a commit of `config_source` that lies in *checkout*."""
        try:
            host = load_settings(self._file, self._environ)
        except SettingsInvalid as error:
            return list(error.problems)
        return check_revision(host, self._environ, checkout)


def _read_projects(before: _State, problems: tuple[Problem, ...]) -> _State:
    """Return *before* with its project files read again, and *problems* with theirs."""
    paths, found = project_files(before.settings.projects_dir)
    if found:  # the directory cannot be read, which is no order to forget what it held
        return replace(before, problems=(*problems, *found))
    read = [read_project_file(path) for path in paths]
    holding = {file.name: _holding(file, before.files.get(file.name, {})) for file in read}
    owners = _owners(before.files, holding)
    files = {
        file: {name: project for name, project in held.items() if owners[name] == file}
        for file, held in holding.items()
    }
    for file in read:
        found += [*file.problems, *_entry_problems(file, owners)]
    return _State(before.settings, files, (*problems, *found), _standings(read, files, owners))


def _owners(
    before: Mapping[str, Mapping[str, Project]], holding: Mapping[str, Mapping[str, Project]]
) -> dict[str, str]:
    """Return project -> file. A name stays with the file that had it; else the first in the alphabet has it."""
    owners: dict[str, str] = {}
    for files in (before, holding):
        for file in sorted(files):
            for name in files[file]:
                if name in holding.get(file, {}):
                    owners.setdefault(name, file)
    return owners


def _standings(
    read: list[ProjectFile], files: Mapping[str, Mapping[str, Project]], owners: Mapping[str, str]
) -> dict[str, tuple[str, tuple[Problem, ...]]]:
    """Return project -> (its file, its problems), for those too that never were right."""
    found: dict[str, tuple[str, list[Problem]]] = {name: (file, []) for name, file in owners.items()}
    for file in read:
        unnamed = Path(file.name).stem
        if file.broken:
            for name in files[file.name] or [unnamed]:
                found.setdefault(name, (file.name, []))[1].extend(file.problems)
        for entry in file.entries:
            name = entry.name or unnamed
            if entry.project is None or owners[name] == file.name:
                found.setdefault(name, (file.name, []))[1].extend(entry.problems)
    return {name: (file, tuple(problems)) for name, (file, problems) in found.items()}


def _holding(file: ProjectFile, last_good: Mapping[str, Project]) -> dict[str, Project]:
    """Return the projects that *file* stands for: those it holds, and the last good ones of what it holds broken."""
    if file.broken:
        return dict(last_good)
    broken = {entry.name for entry in file.entries if entry.project is None}
    kept = {name: project for name, project in last_good.items() if None in broken or name in broken}
    for entry in reversed(file.entries):
        if entry.project is not None:
            kept[entry.project.name] = entry.project
    return kept


def _entry_problems(file: ProjectFile, owners: Mapping[str, str]) -> list[Problem]:
    """Return the problems of the projects in *file*, among them those whose name is taken."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for entry in file.entries:
        problems += entry.problems
        if entry.project is None:
            continue
        name = entry.project.name
        if name in seen or owners[name] != file.name:
            problems.append(taken(file, entry, owners[name]))
        seen.add(name)
    return problems
