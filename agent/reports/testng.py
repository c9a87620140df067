"""TestNG: the methods of `testng-results.xml`."""

from __future__ import annotations

from agent.model.report import TestStatus
from agent.reports import xml
from agent.reports.fields import nanoseconds
from agent.reports.results import Cases, Results, said

_STATUSES: dict[str, TestStatus] = {"pass": "SUCCEEDED", "fail": "FAILED", "skip": "SKIPPED"}
_KEPT = frozenset({"exception", "message", "full-stacktrace"})
_MILLISECOND = 1e6


def parse(path: str, data: bytes) -> Results:
    """Return the test cases of a TestNG file. Raises `ReportInvalid`.

    A configuration method (`@BeforeMethod`) is no test; one that failed is shown as an error, since it is the reason
    why tests were skipped.
    """
    cases, took = Cases(path), 0

    def closed(node: xml.Node) -> None:
        nonlocal took
        if node.name == "suite":
            took += nanoseconds(node.get("duration-ms"), _MILLISECOND)
        elif node.name == "test-method":
            _add(cases, node)

    xml.walk(path, data, root=("testng-results",), closed=closed, keep=_KEPT)
    return cases.results(nanoseconds=took)


def _add(cases: Cases, node: xml.Node) -> None:
    status = _STATUSES.get((node.get("status") or "").casefold(), "UNKNOWN")
    if (node.get("is-config") or "").casefold() == "true":
        if status != "FAILED":
            return
        status = "ERROR"
    found = node.child("exception")
    cases.add(
        node.get("name"),
        status,
        prefix=_around(node, "class"),
        suite=_around(node, "suite"),
        nanoseconds=nanoseconds(node.get("duration-ms"), _MILLISECOND),
        message=said(found.said("message"), found.said("full-stacktrace")) if found else None,
    )


def _around(node: xml.Node, name: str) -> str | None:
    """Return the name of the nearest element of that kind around *node*."""
    outer = node.parent
    while outer is not None and outer.name != name:
        outer = outer.parent
    return outer.get("name") if outer else None
