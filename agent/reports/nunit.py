"""NUnit: the results of its second version (`<test-results>`) and of its third (`<test-run>`)."""

from __future__ import annotations

from agent.model.report import TestStatus
from agent.reports import xml
from agent.reports.fields import nanoseconds
from agent.reports.results import Cases, Results, said

_SECOND: dict[str, TestStatus] = {
    "success": "SUCCEEDED",
    "failure": "FAILED",
    "error": "ERROR",
    "notrunnable": "ERROR",
    "invalid": "ERROR",
    "inconclusive": "ERROR",
    "cancelled": "ERROR",
    "ignored": "SKIPPED",
    "skipped": "SKIPPED",
}
"""As CodeBuild shows NUnit's own example of 28 cases: 18 succeeded, 1 failed, 5 errors, 4 skipped."""
_BEFORE: dict[str, TestStatus] = {"true": "SUCCEEDED", "false": "FAILED"}
_THIRD: dict[str, TestStatus] = {
    "passed": "SUCCEEDED",
    "warning": "SUCCEEDED",
    "failed": "FAILED",
    "inconclusive": "ERROR",
    "skipped": "SKIPPED",
}
_BROKEN = frozenset({"error", "invalid", "cancelled"})
"""Labels of a failure that is no failed assertion."""
_KEPT = frozenset({"failure", "reason", "message", "stack-trace"})


def parse_second(path: str, data: bytes) -> Results:
    """Return the test cases of an NUnit 2 file. Raises `ReportInvalid`."""
    cases, took = Cases(path), 0

    def closed(node: xml.Node) -> None:
        nonlocal took
        if node.name == "test-case":
            name = node.get("name") or ""
            _add(cases, node, name, _status_of_second(node), _class_of(name), nanoseconds(node.get("time")))
        elif node.name == "test-suite" and node.parent and node.parent.name == "test-results":
            took += nanoseconds(node.get("time"))

    xml.walk(path, data, root=("test-results",), closed=closed, keep=_KEPT)
    return cases.results(nanoseconds=took)


def parse_third(path: str, data: bytes) -> Results:
    """Return the test cases of an NUnit 3 file. Raises `ReportInvalid`."""
    cases, took = Cases(path), 0

    def closed(node: xml.Node) -> None:
        nonlocal took
        if node.name == "test-case":
            name = node.get("name") or node.get("fullname") or ""
            prefix = node.get("classname") or _class_of(node.get("fullname") or "")
            _add(cases, node, name, _status_of_third(node), prefix, nanoseconds(node.get("duration")))
        elif node.name == "test-run":
            took = nanoseconds(node.get("duration"))

    xml.walk(path, data, root=("test-run",), closed=closed, keep=_KEPT)
    return cases.results(nanoseconds=took)


def _add(cases: Cases, node: xml.Node, name: str, status: TestStatus, prefix: str, took: int) -> None:
    found = node.child("failure", "reason")
    message = said(found.said("message"), found.said("stack-trace")) if found else None
    cases.add(name, status, prefix=prefix, nanoseconds=took, message=message)


def _status_of_second(node: xml.Node) -> TestStatus:
    result = (node.get("result") or "").casefold()
    if result:
        return _SECOND.get(result, "UNKNOWN")
    if (node.get("executed") or "").casefold() == "false":  # before 2.5 there was no result
        return "SKIPPED"
    success = (node.get("success") or "").casefold()
    return _BEFORE.get(success, "UNKNOWN")


def _status_of_third(node: xml.Node) -> TestStatus:
    status = _THIRD.get((node.get("result") or "").casefold(), "UNKNOWN")
    broken = status == "FAILED" and (node.get("label") or "").casefold() in _BROKEN
    return "ERROR" if broken else status


def _class_of(name: str) -> str:
    """Return what stands before the method in `Space.Class.Method("a.b")`."""
    return name.partition("(")[0].rpartition(".")[0]
