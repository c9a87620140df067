"""Outputs: the sections `artifacts`, `cache` and `reports` (buildspec.md 2.1, 10, 11, 12)."""

from __future__ import annotations

import re
from typing import Literal

from agent.buildspec import grammar
from agent.buildspec.buildspec import Version
from agent.buildspec.plan import ArtifactPlan, CachePlan, ReportPlan
from agent.buildspec.problems import Findings, shown
from agent.buildspec.section import Section

MOST_FALLBACK_KEYS = 5
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]{1,127}")

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
        secondary.only(grammar.SECONDARY_ARTIFACT | ({"type"} if version == "0.1" else frozenset()))
        if not _IDENTIFIER.fullmatch(key.text):
            message = f"secondary artifact `{shown(key.text)}`: an identifier holds letters, digits and _, under 128"
            findings.warning(key, message)
        artifact = _artifact(secondary, key.text, findings)
        if artifact is not None:
            found.append(artifact)
    return tuple(found)


def _artifact(section: Section, identifier: str | None, findings: Findings) -> ArtifactPlan | None:
    files = section.texts("files")
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
    section = root.section("cache", strict=False)
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


def read_reports(root: Section) -> tuple[ReportPlan, ...]:
    """Return the report groups, in the file's order."""
    section = root.section("reports", strict=False)
    return () if section is None else tuple(_report(key.text, group) for key, group in section.sections())


def _report(name: str, group: Section) -> ReportPlan:
    group.only(grammar.REPORT)
    return ReportPlan(
        group=name,
        files=group.texts("files") or (),
        file_format=(group.text("file-format") or "JUNITXML").upper(),
        base_directory=group.text("base-directory"),
        discard_paths=group.yes_no("discard-paths"),
    )
