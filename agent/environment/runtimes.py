"""Runtimes: which versions of languages an image can switch to, by its own list (buildspec.md 9). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.kit import marked_yaml as yaml

RUNTIMES_FILE = "/codebuild/image/config/runtimes.yml"
"""Where an image that supports the choice of runtimes keeps its list."""

_LATEST = "latest"
_ANY = ".x"
_DEFAULT = "default"
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_DIGITS = 18
_DEMANDING = re.compile(r"(?:.*/)?codebuild/(?:standard:2\.0|amazonlinux2-(?:x86_64|aarch64)-standard:1\.0)(?:-.*)?")


@dataclass(frozen=True)
class RuntimeVersion:
    """One version of a runtime: the commands that switch to it, and of other runtimes the versions that go with it."""

    commands: tuple[str, ...] = ()
    requires: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Runtime:
    """One runtime of an image; `default` installs a version that is not listed, which it is told in `$VERSION`."""

    versions: Mapping[str, RuntimeVersion]
    default: RuntimeVersion | None = None


Catalogue = Mapping[str, Runtime]
"""The runtimes of an image by their names."""


@dataclass(frozen=True)
class SetUpCommand:
    """One command that sets up a runtime. `version` is what it is given as `$VERSION`; empty: nothing."""

    text: str
    version: str = ""


@dataclass
class Selection:
    """What came of a choice: lines for the log, and either the commands to run or the `problem`, in CodeBuild's words.

    `commands` are in their order: a runtime that another one needs is set up before it.
    """

    lines: list[str] = field(default_factory=list)
    commands: list[SetUpCommand] = field(default_factory=list)
    problem: str = ""


def demands_a_choice(image: str) -> bool:
    """Whether *image* is one of CodeBuild's first with runtimes, which build nothing unless one is chosen."""
    return _DEMANDING.fullmatch(image) is not None


def parse_runtimes(data: bytes) -> Catalogue:
    """Return what a runtimes file lists; what has an unknown shape is left out. Raises `ValueError`."""
    root = yaml.load(data).root
    listed = root.get("runtimes") if isinstance(root, yaml.Mapping) else None
    if not isinstance(listed, yaml.Mapping):
        raise ValueError("it has no mapping `runtimes`")  # noqa: TRY004 - a mistake in the file, not in the code
    return {name.text: _runtime(node) for name, node in listed.entries}


def select(catalogue: Catalogue, wanted: Mapping[str, str], variables: Mapping[str, str]) -> Selection:
    """Choose from *catalogue* what a buildspec's `runtime-versions` asks for.

    Names and versions are looked for as they are, then without regard to case. `$NAME` and `${NAME}` in a version are
    replaced from *variables*, one that is not set by nothing.
    """
    selection = Selection()
    chosen: dict[str, str] = {}
    for name, text in wanted.items():
        known = _named(name, catalogue) or name
        chosen[known] = _resolved(known, _expanded(text.strip(), variables), catalogue.get(known), selection.lines)
    for name, version in chosen.items():
        selection.lines.append(f"Selecting '{name}' runtime version '{version}' based on manual selections...")
    try:
        for name, version in chosen.items():
            _find(catalogue, name, version)
        for name in _with_dependencies(catalogue, chosen, selection.lines):
            selection.commands += _commands(catalogue[name], chosen[name])
    except _Unfit as unfit:
        selection.problem = str(unfit)
    return selection


class _Unfit(Exception):
    """The choice cannot be had from this image; the text is for the user."""


def _find(catalogue: Catalogue, name: str, version: str) -> RuntimeVersion:
    runtime = catalogue.get(name)
    if runtime is None:
        raise _Unfit(
            f"Unknown runtime named '{name}'. "
            f"This build image has the following runtimes: {', '.join(sorted(catalogue))}"
        )
    found = runtime.versions.get(version) or runtime.default
    if found is None or not version:
        raise _Unfit(
            f"Unknown runtime version named '{version}' of {name}. "
            f"This build image has the following versions: {', '.join(sorted(runtime.versions))}"
        )
    return found


def _with_dependencies(catalogue: Catalogue, chosen: dict[str, str], lines: list[str]) -> list[str]:
    """Return the names of *chosen*, each after those that it needs; adds to *chosen* what nobody has asked for."""
    order: list[str] = []
    waiting = [(name, False) for name in reversed(chosen)]
    begun: set[str] = set()
    while waiting:
        name, served = waiting.pop()
        if served:
            order.append(name)
            continue
        if name in begun:
            continue
        begun.add(name)
        waiting.append((name, True))
        for needed, versions in _find(catalogue, name, chosen[name]).requires:
            _serve(catalogue, chosen, lines, name, needed, versions)
            waiting.append((needed, False))
    return order


def _serve(
    catalogue: Catalogue, chosen: dict[str, str], lines: list[str], name: str, needed: str, versions: Sequence[str]
) -> None:
    """Make sure that *chosen* has a version of *needed* that suits *name*."""
    given = chosen.get(needed)
    if given is None:
        runtime = catalogue.get(needed)
        given = next((version for version in versions if runtime and version in runtime.versions), None)
        if given is None:
            raise _Unfit(
                f"Runtime '{name}' version '{chosen[name]}' has a dependency on runtime '{needed}' "
                f"({', '.join(versions)}), which this build image does not have."
            )
        chosen[needed] = given
        lines.append(f"Selecting '{needed}' runtime version '{given}' based on the dependencies of runtime '{name}'...")
    elif given not in versions:
        conflict = (
            f"Runtime '{name}' version '{chosen[name]}' has a dependency on runtime '{needed}', "
            f"but '{needed}' version '{given}' has already been manually selected."
        )
        lines.append(f"{conflict} Not attempting to override.")
        raise _Unfit(f"{conflict} It goes with: {', '.join(versions)}")


def _commands(runtime: Runtime, version: str) -> list[SetUpCommand]:
    listed = runtime.versions.get(version)
    if listed is not None:
        return [SetUpCommand(text) for text in listed.commands]
    return [SetUpCommand(text, version) for text in (runtime.default or RuntimeVersion()).commands]


def _resolved(name: str, text: str, runtime: Runtime | None, lines: list[str]) -> str:
    """Return the version that *text* means: `latest` and `N.x` become the highest one that is listed and fits.

    An alias that nothing fits is left to the `default` entry, as the version that it begins with.
    """
    if runtime is None:
        return text
    exact = _named(text, runtime.versions)
    if exact is not None:
        return exact
    if text.lower() == _LATEST:
        fitting = list(runtime.versions)
    elif text.lower().endswith(_ANY):
        begin = text.lower().removesuffix(_ANY)
        fitting = [one for one in runtime.versions if one.lower() == begin or one.lower().startswith(f"{begin}.")]
        if not fitting and runtime.default:
            return text[: -len(_ANY)]
    else:
        return text
    if not fitting:
        return text
    found = max(fitting, key=_rank)
    lines.append(f"Resolved '{name}' runtime alias '{text}' to '{found}'.")
    return found


def _rank(version: str) -> tuple[list[int], str]:
    """Order versions by their numbers: 3.9 before 3.10, corretto8 before corretto11."""
    return [int(number[:_DIGITS]) for number in _NUMBER.findall(version)], version


def _named(name: str, among: Iterable[str]) -> str | None:
    """Return *name* as it is spelt in *among*."""
    names = list(among)
    if name in names:
        return name
    return next((one for one in names if one.lower() == name.lower()), None)


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def _runtime(node: yaml.Node) -> Runtime:
    listed = node.get("versions") if isinstance(node, yaml.Mapping) else None
    entries = listed.entries if isinstance(listed, yaml.Mapping) else ()
    versions = {key.text: _version(value) for key, value in entries}
    default = versions.pop(_DEFAULT, None)
    return Runtime(versions, default)


def _version(node: yaml.Node) -> RuntimeVersion:
    if not isinstance(node, yaml.Mapping):
        return RuntimeVersion()
    needed = node.get("requires")
    entries = needed.entries if isinstance(needed, yaml.Mapping) else ()
    return RuntimeVersion(_texts(node.get("commands")), tuple((key.text, _texts(value)) for key, value in entries))


def _texts(node: yaml.Node | None) -> tuple[str, ...]:
    """Return the texts of a list, or of a single text."""
    items = node.items if isinstance(node, yaml.Sequence) else (node,)
    return tuple(item.text for item in items if isinstance(item, yaml.Scalar) and not item.is_null)
