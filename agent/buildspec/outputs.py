"""Outputs: the sections `artifacts`, `cache` and `reports` (buildspec.md 2.1, 10, 11, 12)."""

from __future__ import annotations

import re
from typing import Literal

from agent.buildspec import grammar
from agent.buildspec.buildspec import Version
from agent.buildspec.plan import ArtifactPlan, CachePlan, ReportPlan
from agent.buildspec.problems import Findings, Weight, shown
from agent.buildspec.section import Section
from agent.kit.marked_yaml import Scalar

MOST_FALLBACK_KEYS = grammar.MOST_FALLBACK_KEYS
_IDENTIFIER = re.compile(grammar.IDENTIFIER)
_GROUP_NAME = re.compile(r"(?:[A-Za-z0-9_-]|\$[A-Za-z_]\w*+|\$\{[A-Za-z_]\w*+\})++", re.ASCII)
_GROUP_ARN = re.compile(r"arn:[^:]+:codebuild:[^:]*:[^:]*:report-group/.+")

Artifacts = tuple[ArtifactPlan | None, tuple[ArtifactPlan, ...]]


def read_artifacts(root: Section, version: Version, findings: Findings) -> Artifacts:
    """Return the primary artifact and the secondary ones; a section without `files` yields no artifact."""
    section = root.section("artifacts")
    if section is None:
        return None, ()
    section.only(grammar.OLD_ARTIFACTS if version == "0.1" else grammar.ARTIFACTS)
    return _artifact(section, None, findings), _secondary(section, version, findings)


def _secondary(section: Section, version: Version, findings: Findings) -> tuple[ArtifactPlan, ...]:
    named = section.section("secondary-artifacts")
    if named is None:
        return ()
    found = []
    for key, secondary in named.sections():
        secondary.only(grammar.OLD_SECONDARY_ARTIFACT if version == "0.1" else grammar.SECONDARY_ARTIFACT)
        if not _IDENTIFIER.fullmatch(key.text):
            message = f"secondary artifact `{shown(key.text)}`: an identifier holds letters, digits and _, under 128"
            findings.warning(key, message)
        artifact = _artifact(secondary, key.text, findings)
        if artifact is not None:
            found.append(artifact)
    return tuple(found)


def _artifact(section: Section, identifier: str | None, findings: Findings) -> ArtifactPlan | None:
    files = section.texts("files")
    section.lenient().text("type")  # of no effect, but a text
    artifact = ArtifactPlan(
        identifier=identifier,
        files=files or (),
        base_directory=section.text("base-directory"),
        exclude_paths=section.texts("exclude-paths") or (),
        discard_paths=section.yes_no("discard-paths"),
        enable_symlinks=section.yes_no("enable-symlinks"),
        name=section.text("name"),
        s3_prefix=section.text("s3-prefix"),
    )
    if files is None:
        findings.warning(section.node, f"{section.path} has no `files`: nothing of it will be uploaded")
        return None
    return artifact


def read_cache(root: Section, findings: Findings) -> CachePlan | None:
    """Return the cache section. What is wrong in it is ignored: a cache never fails a build (buildspec.md 11.6)."""
    section = root.section("cache", weight=Weight.WARNING)
    if section is None:
        return None
    section.only(grammar.CACHE)
    key = section.text("key")
    return CachePlan(
        paths=section.texts("paths") or (),
        key=key,
        fallback_keys=_fallback_keys(section, key, findings),
        action=_action(section, findings),
    )


def _fallback_keys(section: Section, key: str | None, findings: Findings) -> tuple[str, ...]:
    keys = section.texts("fallback-keys") or ()
    node = section.node.get("fallback-keys") or section.node
    if keys and key is None:
        findings.warning(node, "cache.fallback-keys are ignored without a cache.key")
        return ()
    if len(keys) > MOST_FALLBACK_KEYS:
        findings.warning(node, f"cache.fallback-keys holds {len(keys)} keys: the first {MOST_FALLBACK_KEYS} are used")
    return keys[:MOST_FALLBACK_KEYS]


def _action(section: Section, findings: Findings) -> Literal["both", "restore", "save"]:
    text = section.text("action")
    match (text or "").strip().lower():
        case "restore":
            return "restore"
        case "save":
            return "save"
    if text is not None:
        node = section.node.get("action") or section.node
        message = f"cache.action is neither restore nor save: `{shown(text)}` counts as both"
        findings.warning(node, message)
    return "both"


def read_reports(root: Section, findings: Findings) -> tuple[ReportPlan, ...]:
    """Return the report groups, in the file's order. What is wrong in them is warned of (buildspec.md 12)."""
    section = root.section("reports", weight=Weight.WARNING)
    if section is None:
        return ()
    groups = section.sections()
    if len(groups) > grammar.MOST_REPORT_GROUPS:
        words = f"reports names {len(groups)} groups: CodeBuild takes {grammar.MOST_REPORT_GROUPS} of a project"
        findings.warning(groups[grammar.MOST_REPORT_GROUPS][0], words)
    return tuple(_report(key, group, findings) for key, group in groups)


def _report(key: Scalar, group: Section, findings: Findings) -> ReportPlan:
    group.only(grammar.REPORT)
    if not (_GROUP_NAME.fullmatch(key.text) or _GROUP_ARN.fullmatch(key.text)):
        words = "the name of a report group holds letters, digits, -, _ and $VARIABLES, or it is the group's ARN"
        findings.warning(key, f"`{shown(key.text)}`: {words}")
    files = group.texts("files")
    if not files:
        findings.warning(key, f"{group.path} has no `files`: it can report nothing")
    return ReportPlan(
        group=key.text,
        files=files or (),
        file_format=_file_format(group, findings),
        base_directory=group.text("base-directory"),
        discard_paths=group.yes_no("discard-paths"),
    )


def _file_format(group: Section, findings: Findings) -> str:
    text = (group.text("file-format") or grammar.FILE_FORMATS[0]).strip()
    word = text.upper()
    if word not in grammar.FILE_FORMATS:
        close = "" if findings.full else grammar.closest(word, grammar.FILE_FORMATS)
        guess = f"did you mean {close}?" if close else f"the formats are {', '.join(grammar.FILE_FORMATS)}"
        node = group.node.get("file-format") or group.node
        findings.warning(node, f"{group.path}.file-format `{shown(text)}` is no format of reports; {guess}")
    return word
