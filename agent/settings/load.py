"""agent.yml and the environment become Settings; a wrong file is refused with every mistake in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import Problem, SettingsInvalid, UsageError
from agent.kit import marked_yaml
from agent.settings.credentials import literals
from agent.settings.problems import Text, complaint, did_you_mean, dotted, expectation, read_text
from agent.settings.references import REFERENCES
from agent.settings.schema import DEFAULT_FILE, Settings, setting_names

PREFIX = "BUILDSPECD_"
FILE_VARIABLE = "BUILDSPECD_CONFIG"
"""Names agent.yml where `--config` is not given."""

_YAML = {
    ("images", "rewrite"): "a mapping such as {a/: b/}",
    ("credentials",): "a list such as [{host: h, token: env:T}]",
    ("webhooks", "sns_topics"): "a list such as [arn:aws:sns:REGION:ACCOUNT:NAME]",
    ("events", "topic_events"): "a list such as [codebuild-project-build-state-failed]",
}
_SETTINGS_HINT = "config/agent.yml of the distribution shows every setting"


@dataclass(frozen=True)
class LoadedSettings:
    """Settings that hold, the file they came from (None: defaults and environment alone), and what is odd in it."""

    settings: Settings
    file: Path | None
    warnings: tuple[Problem, ...] = ()


def settings_file(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the agent.yml to read: *given*, `$BUILDSPECD_CONFIG`, /etc/buildspecd/agent.yml if there is one, or None.

    Raises UsageError when a file that was asked for is not there.
    """
    environ = os.environ if environ is None else environ
    named = given or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is None:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else None
    if not named.is_file():
        where = "--config" if given else FILE_VARIABLE
        raise UsageError(f"there is no settings file {named}", hint=f"mend {where}, or leave it out for the defaults")
    return named


def load_settings(
    file: Path | None, environ: Mapping[str, str] | None = None, *, over: Text | None = None
) -> LoadedSettings:
    """Return the settings of *file* (None: none), with those of *environ* on top and all paths absolute.

    *over* is another agent.yml, whose settings stand above those of *file* and below those of *environ*.
    Raises SettingsInvalid with every mistake at once.
    """
    environ = os.environ if environ is None else environ
    text, problems = (Text("", marked_yaml.Document(None)), []) if file is None else read_text(file, str(file))
    overrides, warnings = _from_environment(environ, problems)
    if text is None:
        raise SettingsInvalid([*problems, *warnings], hint=_SETTINGS_HINT)
    plain = marked_yaml.to_plain(text.document.root)
    data: Any = {} if plain is None else plain
    if over is not None:
        data = _merged(data, marked_yaml.to_plain(over.document.root))
    if isinstance(data, dict):
        for path, (_, value) in overrides.items():
            _put(data, path, value)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        sources = {path: variable for path, (variable, _) in overrides.items()}
        for item in error.errors():
            told_by = over if over is not None and _says(over, item["loc"]) else text
            problems.append(_complaint(dict(item), told_by, sources))
    if problems:
        problems.sort(key=lambda problem: (problem.file, problem.line, problem.column))
        raise SettingsInvalid([*problems, *warnings], hint=_SETTINGS_HINT)
    warnings += [_literal(path, text, overrides) for path in literals(settings.credentials)]
    home = DEFAULT_FILE.parent if file is None else file.absolute().parent
    return LoadedSettings(settings.anchored(home), file, tuple(warnings))


def _literal(path: tuple[str | int, ...], text: Text, overrides: Mapping[tuple[str, ...], Any]) -> Problem:
    words = f"{dotted(('credentials', *path))}: the secret itself stands here; refer to it: {REFERENCES}"
    if ("credentials",) in overrides:
        return Problem(variable_name(("credentials",)), 0, 0, words, fatal=False)
    return text.problem(("credentials", *path), words, fatal=False)


def _merged(below: Any, above: Any) -> Any:
    """Return *above* laid over *below*: mappings member by member, all else as a whole."""
    if above is None:
        return below
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{name: _merged(below.get(name), value) for name, value in above.items()}}


def _says(text: Text, loc: tuple[str | int, ...]) -> bool:
    """Whether the value at *loc* stands in *text*; of an index the list it counts in."""
    node = text.document.root
    for step in loc:
        if isinstance(step, int) or not isinstance(node, marked_yaml.Mapping):
            break
        node = node.get(step)
        if node is None:
            return False
    return True


def variable_name(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting, such as BUILDSPECD_BUILDS__MAX_CONCURRENT."""
    return PREFIX + "__".join(path).upper()


def _from_environment(
    environ: Mapping[str, str], problems: list[Problem]
) -> tuple[dict[tuple[str, ...], tuple[str, Any]], list[Problem]]:
    """Return setting -> (variable, value), and warnings about variables that look like settings and are none."""
    known = {variable_name(path): path for path in setting_names()}
    found: dict[tuple[str, ...], tuple[str, Any]] = {}
    warnings: list[Problem] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name != FILE_VARIABLE):
        path = known.get(variable)
        if path is not None:
            if environ[variable]:  # one left empty, as a compose file does with what is unset, says nothing
                found[path] = (variable, _value(variable, path, environ[variable], problems))
            continue
        advice = did_you_mean(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known])
        if "__" in variable:
            problems.append(Problem(variable, 0, 0, f"this environment variable is no setting{advice}"))
        elif advice:
            warnings.append(Problem(variable, 0, 0, f"this environment variable is no setting{advice}", fatal=False))
    return found, warnings


def _value(variable: str, path: tuple[str, ...], text: str, problems: list[Problem]) -> Any:
    """Return what a variable says: a text, null, or for the few settings that are no scalars, YAML on one line."""
    if text in ("null", "~"):
        return None
    if path not in _YAML:
        return text
    try:
        return marked_yaml.to_plain(marked_yaml.load(text).root)
    except marked_yaml.MarkedYamlError as error:
        problems.append(Problem(variable, 0, 0, f"expected {_YAML[path]}: {error.message}"))
        return None


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set *value* at *path*; a section that is missing or null is made, one that is no mapping is left to pydantic."""
    for step in path[:-1]:
        if data.get(step) is None:
            data[step] = {}
        data = data[step]
        if not isinstance(data, dict):
            return
    data[path[-1]] = value


def _complaint(item: dict[str, Any], text: Text, sources: Mapping[tuple[str, ...], str]) -> Problem:
    """Return a complaint at the place it came from: a variable of the environment, or the file."""
    loc = tuple(item["loc"])
    variable = next((name for path, name in sources.items() if loc[: len(path)] == path), None)
    if variable is not None:
        return Problem(variable, 0, 0, f"{dotted(loc)}: {expectation(item)}")
    return complaint(item, Settings, text)
