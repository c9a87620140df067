"""Recognise: which format a file has, told from its name and its first bytes without parsing it."""

from __future__ import annotations

import re
from collections.abc import Mapping

HEAD_BYTES = 65_536
"""Bytes of a file's beginning that can matter."""

_XML = (".xml", ".trx")
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)([^>]*)>?")
_CUCUMBER = re.compile(r"^\s*\[\s*\{")
_RESULTSET = re.compile(r'^\s*\{\s*"[^"\\]{1,500}"\s*:\s*\{\s*"coverage"\s*:\s*\{')
_FORMATTER = re.compile(r'^\s*\{\s*"meta"\s*:\s*\{[^{}]{0,500}"simplecov_version"')
_BY_ROOT: Mapping[str, str] = {
    "testsuites": "JUNITXML",
    "testsuite": "JUNITXML",
    "test-results": "NUNITXML",
    "test-run": "NUNIT3XML",
    "testng-results": "TESTNGXML",
}


def recognise(path: str, head: bytes) -> str | None:
    """Return the name of the format that a file has (`JUNITXML`), or None.

    *head*: the file's first bytes; more than `HEAD_BYTES` are not looked at. Only `.xml`, `.trx` and `.json` are
    looked into. Whether the rest of the file can be read shows when it is parsed.
    """
    name = path.lower()
    if name.endswith(_XML):
        return _recognise_xml(_text(head[:HEAD_BYTES]))
    if name.endswith(".json"):
        return _recognise_json(_text(head[:HEAD_BYTES]))
    return None


def _recognise_xml(text: str) -> str | None:
    at = _root_at(text)
    found = _ROOT.match(text, at) if at >= 0 else None
    if found is None:
        return None
    root, attributes, rest = found[1], found[2], text[found.end() :]
    if root == "TestRun":
        return "VISUALSTUDIOTRX" if "/VisualStudio/TeamTest/" in attributes else None
    if root == "report":
        jacoco = "JACOCO" in text[:at] or _child(rest) in ("sessioninfo", "package", "group")
        return "JACOCOXML" if jacoco else None
    if root == "coverage":
        child = _child(rest)
        if child in ("project", "testproject"):
            return "CLOVERXML"
        return "COBERTURAXML" if child in ("sources", "packages") or "line-rate=" in attributes else None
    return _BY_ROOT.get(root)


def _recognise_json(text: str) -> str | None:
    if _RESULTSET.match(text) or _FORMATTER.match(text):
        return "SIMPLECOV"
    if _CUCUMBER.match(text) and '"elements"' in text and '"keyword"' in text and '"steps"' in text:
        return "CUCUMBERJSON"
    return None


def _child(text: str) -> str | None:
    """Return the name of the first element in *text*."""
    at = _root_at(text)
    found = _ROOT.match(text, at) if at >= 0 else None
    return found[1] if found else None


def _root_at(text: str) -> int:
    """Return where the first element begins, behind declaration, comments and DOCTYPE; -1 if nowhere."""
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("<", at):
            return -1
        closing = {"<?": "?>", "<!": ">"}.get(text[at : at + 2])
        if text.startswith("<!--", at):
            closing = "-->"
        if closing is None:
            return at
        end = text.find(closing, at + 2)
        if end < 0:
            return -1
        at = end + len(closing)


def _text(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"<\x00")):
        return head.decode("utf-16-le", "replace").removeprefix("\ufeff")
    if head.startswith((b"\xfe\xff", b"\x00<")):
        return head.decode("utf-16-be", "replace").removeprefix("\ufeff")
    return head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
