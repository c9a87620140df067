"""Cucumber: the JSON of Cucumber in Ruby, Java and JavaScript, and that of behave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.errors import ReportInvalid
from agent.model.report import TestStatus
from agent.reports.fields import nanoseconds
from agent.reports.jsontext import load
from agent.reports.results import MOST_MESSAGE, Cases, Results

_FAILED = frozenset({"failed", "ambiguous"})
_OPEN = frozenset({"undefined", "pending", "untested"})
_KNOWN = _FAILED | _OPEN | {"passed", "skipped"}
_HOOKS = ("before", "after")


def parse(path: str, data: bytes) -> Results:
    """Return one test case a scenario. Raises `ReportInvalid`.

    A background that stands apart (Ruby, Java) belongs to the scenario that follows it.
    """
    features = load(path, data)
    if not isinstance(features, list) or not all(_is_feature(feature) for feature in features):
        raise ReportInvalid(f"{path}: expected a list of features, each with its elements", hint="See `--format json`.")
    cases = Cases(path)
    for feature in features:
        unit = 1.0 if "uri" in feature else 1e9  # behave counts in seconds
        background: list[Mapping[str, Any]] = []
        for element in _objects(feature.get("elements")):
            steps = list(_steps(element))
            if element.get("type") == "background":
                background = steps
                continue
            _add(cases, feature, element, [*background, *steps], unit)
            background = []
    return cases.results()


def _is_feature(value: object) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("elements", []), list) and ("name" in value or "uri" in value)
    )


def _add(
    cases: Cases,
    feature: Mapping[str, Any],
    element: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    unit: float,
) -> None:
    results = [result for step in steps if isinstance(result := step.get("result"), dict)]
    place = feature.get("uri") or str(feature.get("location") or "").rpartition(":")[0]
    cases.add(
        _text(element.get("name")) or _text(element.get("id")),
        _status([_text(result.get("status")).casefold() for result in results]),
        prefix=_text(place),
        suite=_text(feature.get("name")),
        nanoseconds=sum(nanoseconds(result.get("duration"), unit) for result in results),
        message=_message(steps),
    )


def _status(found: Sequence[str]) -> TestStatus:
    """Return the status of a scenario by those of its steps; one in which nothing ran was skipped."""
    seen = set(found)
    if seen & _FAILED:
        return "FAILED"
    if seen & _OPEN or seen - _KNOWN:
        return "UNKNOWN"
    return "SUCCEEDED" if "passed" in seen and "skipped" not in seen else "SKIPPED"


def _message(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what failed, or the first step that nobody has written."""
    for step in steps:
        result = step.get("result")
        if not isinstance(result, dict):
            continue
        error = result.get("error_message")
        lines = [_text(line)[:MOST_MESSAGE] for line in error[:200]] if isinstance(error, list) else [_text(error)]
        status = _text(result.get("status")).casefold()
        if any(lines) or status in _OPEN:
            told = "\n".join(lines)
            return (
                told or f"{status}: {_text(step.get('keyword'))[:40].strip()} {_text(step.get('name'))[:MOST_MESSAGE]}"
            )
    return None


def _steps(element: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a scenario, with the hooks around it and around each step, in the order of their running."""
    yield from _objects(element.get("before"))
    for step in _objects(element.get("steps")):
        yield from _objects(step.get("before"))
        yield step
        yield from _objects(step.get("after"))
    yield from _objects(element.get("after"))


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
