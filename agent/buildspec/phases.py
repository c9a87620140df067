"""Phases: the commands of a buildspec, and what happens when one fails (buildspec.md 2.1, 4.5)."""

from __future__ import annotations

from agent.buildspec import grammar, patterns
from agent.buildspec.buildspec import PhaseSection
from agent.buildspec.on_failure import parse_on_failure
from agent.buildspec.plan import OnFailure
from agent.buildspec.problems import Findings, Weight, shown
from agent.buildspec.section import Section
from agent.kit.marked_yaml import Node, Scalar
from agent.model.phase import PhaseType

_QUOTE_IT = (
    "quote the whole command, or write it as a block after `- |`: a colon and a space, or a leading { or [, "
    "make it something else than a text"
)

_MOST_DOUBTS = 3

Runtimes = tuple[tuple[str, str], ...]


def read_phases(root: Section, findings: Findings) -> tuple[tuple[PhaseSection, ...], Runtimes]:
    """Return the phases that hold something, in the file's order, and the chosen runtime versions."""
    phases = root.section("phases")
    if phases is None:
        _explain_absence(root, findings)
        return (), ()
    phases.only(grammar.PHASES)
    found: list[PhaseSection] = []
    runtimes: Runtimes = ()
    for key, _ in phases.node.entries:
        phase = grammar.PHASE_NAMES.get(key.text)
        section = phases.section(key.text, label=key.text.upper()) if phase else None
        if phase is None or section is None:
            continue
        chosen = _runtimes(section, findings) if phase is PhaseType.INSTALL else ()
        runtimes += chosen
        read = _read_phase(section, phase, findings)
        if chosen or read != PhaseSection(phase=phase):
            found.append(read)
    return tuple(found), runtimes


def _read_phase(section: Section, phase: PhaseType, findings: Findings) -> PhaseSection:
    section.only(grammar.INSTALL if phase is PhaseType.INSTALL else grammar.PHASE)
    commands, skipped = _commands(section, "commands", findings)
    at_last, skipped_at_last = _commands(section, "finally", findings)
    if skipped + skipped_at_last:  # one warning a phase (buildspec.md 1.2)
        findings.warning((skipped + skipped_at_last)[0], f"empty commands of {section.path} are skipped")
    return PhaseSection(
        phase=phase,
        commands=commands,
        finally_commands=at_last,
        on_failure=_on_failure(section, findings),
        run_as=section.text("run-as"),
    )


def _explain_absence(root: Section, findings: Findings) -> None:
    """Say why a file without phases runs nothing: a batch file may, any other lacks what it is for."""
    if root.value("phases") is not None:
        return  # it has the wrong shape, and that has been said
    node = root.node.key("phases") or root.node
    if root.has("phases"):
        findings.warning(node, "`phases` is empty: the build runs no command")
    elif root.value("batch") is not None:
        findings.remark(node, "there are no `phases` but only a `batch`: a plain build of this file runs no command")
    else:
        findings.fatal(
            node.line,
            node.column,
            "phases are missing in the buildspec",
            "add `phases` with at least one of install, pre_build, build and post_build",
        )


def _commands(section: Section, key: str, findings: Findings) -> tuple[tuple[str, ...], tuple[Node, ...]]:
    """Return the commands of a list, and its empty items, which are none."""
    commands: list[str] = []
    empty: list[Node] = []
    for index, item in enumerate(section.items(key) or ()):
        if not isinstance(item, Scalar):
            words = (
                f"Expected {key.capitalize()}[{index}] to be of string type: found subkeys instead "
                f"at line {item.line}, value of the key tag on line {item.line - 1} might be empty"
            )
            findings.fatal(item.line, item.column, words, _QUOTE_IT)
        elif item.is_null:
            empty.append(item)
        else:
            commands.append(item.text)
    return tuple(commands), tuple(empty)


def _on_failure(section: Section, findings: Findings) -> OnFailure:
    text = section.text("on-failure")
    if text is None:
        return OnFailure()
    node = section.node.get("on-failure") or section.node
    try:
        parsed = parse_on_failure(text)
    except ValueError as error:
        words = f"invalid on-failure value '{shown(text)}' in {section.path} at line {node.line}: {error}"
        findings.fatal(node.line, node.column, words)
        return OnFailure()
    for doubt in patterns.doubts(parsed.pattern)[:_MOST_DOUBTS]:
        message = f"the pattern of {section.path}.on-failure holds {doubt}"
        findings.warning(node, f"{message}: CodeBuild knows it not, and neither does every image's grep")
    return parsed


def _runtimes(install: Section, findings: Findings) -> Runtimes:
    """Return runtime and version, in the file's order; a wrong shape is ignored, as most images have no runtimes."""
    chosen = install.section("runtime-versions", weight=Weight.WARNING)
    if chosen is None:
        return ()
    found: list[tuple[str, str]] = []
    for key, value in chosen.node.entries:
        version = chosen.text(key.text)
        if version is not None:
            found.append((key.text, version))
        elif isinstance(value, Scalar):
            findings.warning(key, f"{chosen.name_of(key.text)} names no version and is ignored")
    return tuple(found)
