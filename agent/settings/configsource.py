"""ConfigSource: settings and projects out of one commit of a git repository, checked and taken as a whole.

`<state_dir>/config/<commit>` is the checkout of a commit, `<state_dir>/config/current` a link to the one that holds.
A commit whose checkout is named by the link has been checked before; the link is moved by one rename.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from agent.errors import Problem, SettingsInvalid
from agent.kit import marked_yaml
from agent.kit.files import sync_directory
from agent.settings.load import LoadedSettings, load_settings
from agent.settings.problems import Text, read_text
from agent.settings.projects import load_projects
from agent.settings.schema import Settings

CURRENT = "current"
SETTINGS_FILE = "agent.yml"
DEFAULT_PROJECTS = "projects.d"
MOST_FILES = 10_000

_OF_THE_HOST = ("state_dir", "runtime_dir", "aws", "config_source", "credentials", "git")
"""What no commit may change: where this agent lives, and how it gets at the repository itself."""


def directory_of(settings: Settings) -> Path:
    """Return where the checkouts are."""
    return settings.state_dir / "config"


def current_revision(directory: Path) -> str | None:
    """Return the commit that holds, None where there is none yet."""
    try:
        name = (directory / CURRENT).readlink().name
    except OSError:
        return None
    return name if (directory / name).is_dir() else None


def make_current(directory: Path, revision: str) -> None:
    """Let *revision*, whose checkout is whole and checked, hold from now on; before and after a power cut alike."""
    os.sync()
    aside = directory / f".{CURRENT}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(revision)
    aside.replace(directory / CURRENT)
    sync_directory(directory)


def followed(
    host: LoadedSettings, environ: Mapping[str, str], *, checkout: Path | None = None
) -> tuple[LoadedSettings, tuple[Problem, ...]]:
    """Return *host* with the settings of the repository above it, and what is wrong with those.

    *checkout* is the one to read; None: the one that holds. Where something is wrong, the host's own settings hold,
    with the projects of the checkout.
    """
    source = host.settings.config_source
    if source.url is None:
        return host, ()
    top = checkout or _current(host.settings)
    home = top / source.path
    text, problems = _settings_text(home)
    projects_dir = home / (_projects_dir(text) if text and not problems else DEFAULT_PROJECTS)
    loaded = host
    if text is not None and not problems:
        try:
            loaded = load_settings(host.file, environ, over=_without_projects_dir(text))
        except SettingsInvalid as error:
            problems = list(error.problems)
    settings = loaded.settings.model_copy(
        update={"projects_dir": projects_dir, **{name: getattr(host.settings, name) for name in _OF_THE_HOST}}
    )
    return replace(loaded, settings=settings), tuple(problems)


def check_revision(host: LoadedSettings, environ: Mapping[str, str], checkout: Path) -> list[Problem]:
    """Return everything that is wrong or odd with a commit, the files named as the repository names them."""
    home = checkout / host.settings.config_source.path
    if home.is_symlink() or not home.is_dir():
        path = host.settings.config_source.path
        return [Problem(path, 0, 0, "config_source.path: the commit has no such directory")]
    problems = list(_strangers(checkout))
    if not problems:
        loaded, wrong = followed(host, environ, checkout=checkout)
        problems += wrong
        if not loaded.settings.projects_dir.is_dir():
            problems.append(
                Problem(str(loaded.settings.projects_dir), 0, 0, "the directory of the projects is missing")
            )
        else:
            problems += load_projects(loaded.settings.projects_dir).problems
    return [replace(problem, file=_relative(problem.file, checkout)) for problem in problems]


def _current(settings: Settings) -> Path:
    directory = directory_of(settings)
    return directory / (current_revision(directory) or "none")


def _settings_text(home: Path) -> tuple[Text | None, list[Problem]]:
    """Return the repository's agent.yml, None where it has none, and what forbids to use it."""
    file = home / SETTINGS_FILE
    if not file.is_file():
        return None, []
    text, problems = read_text(file, str(file))
    root = text.document.root if text else None
    if text is None or not isinstance(root, marked_yaml.Mapping):
        return text, problems
    for name in _OF_THE_HOST:
        if root.get(name) is not None:
            message = f"{name} is the host's own: it belongs into the agent.yml of the host"
            problems.append(text.problem_with_key((name,), message))
    path = PurePosixPath(_projects_dir(text))
    if path.is_absolute() or ".." in path.parts:
        problems.append(text.problem(("projects_dir",), "projects_dir: expected a directory of the repository"))
    return text, problems


def _projects_dir(text: Text) -> str:
    root = text.document.root
    node = root.get("projects_dir") if isinstance(root, marked_yaml.Mapping) else None
    return node.text if isinstance(node, marked_yaml.Scalar) and not node.is_null else DEFAULT_PROJECTS


def _without_projects_dir(text: Text) -> Text:
    """Return *text* less the one setting that means a place in the repository, and not on the host."""
    root = text.document.root
    if not isinstance(root, marked_yaml.Mapping):
        return text
    entries = tuple((key, value) for key, value in root.entries if key.text != "projects_dir")
    return replace(text, document=replace(text.document, root=replace(root, entries=entries)))


def _strangers(checkout: Path) -> Iterator[Problem]:
    """Yield what no configuration needs, and what may lead out of the checkout."""
    files = 0
    for directory, folders, names in os.walk(checkout):
        if directory == str(checkout) and ".git" in folders:
            folders.remove(".git")
        files += len(names)
        if files > MOST_FILES:
            yield Problem(str(checkout), 0, 0, f"the repository has more than {MOST_FILES} files")
            return
        for name in (*folders, *names):
            path = Path(directory, name)
            if path.is_symlink():
                yield Problem(str(path), 0, 0, "symbolic links are not followed: put the file itself here")


def _relative(file: str, checkout: Path) -> str:
    return file.removeprefix(f"{checkout}/") if file != str(checkout) else "."
