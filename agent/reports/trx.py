"""TRX: the results of Visual Studio's test platform (`dotnet test --logger trx`)."""

from __future__ import annotations

from dataclasses import replace

from agent.model.report import TestCase, TestStatus
from agent.reports import xml
from agent.reports.fields import clean, clock
from agent.reports.results import MOST_NAME, Cases, Results, said

_STATUSES: dict[str, TestStatus] = {
    "passed": "SUCCEEDED",
    "passedbutrunaborted": "SUCCEEDED",
    "warning": "SUCCEEDED",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "error": "ERROR",
    "timeout": "ERROR",
    "aborted": "ERROR",
    "notexecuted": "SKIPPED",
}
_KEPT = frozenset({"Output", "ErrorInfo", "Message", "StackTrace", "StdOut", "InnerResults"})


def parse(path: str, data: bytes) -> Results:
    """Return the test cases of a TRX file. Raises `ReportInvalid`.

    The class and the assembly of a test stand apart from its results, and are joined by the test's id.
    """
    cases = Cases(path)
    places: dict[str, tuple[str, str]] = {}

    def closed(node: xml.Node) -> None:
        if node.name.endswith("TestResult"):
            _add(cases, node)
        elif node.name == "TestMethod" and node.parent and node.parent.name == "UnitTest":
            id_ = clean(node.parent.get("id"), MOST_NAME)
            places[id_] = (_class_of(node), clean(_file_of(node.parent.get("storage")), MOST_NAME))

    xml.walk(path, data, root=("TestRun",), closed=closed, keep=_KEPT)
    found = cases.results()
    return replace(found, cases=tuple(_placed(case, places) for case in found.cases))


def _add(cases: Cases, node: xml.Node) -> None:
    """Take up a result; one of a data-driven test stands for its inner results, which are taken up instead."""
    if node.child("InnerResults"):
        return
    outcome = node.get("outcome")
    status = _STATUSES.get(outcome.casefold(), "UNKNOWN") if outcome else "ERROR"  # left out, it means Error
    output = node.child("Output")
    broken = output.child("ErrorInfo") if output else None
    message = said(broken.said("Message"), broken.said("StackTrace")) if broken else None
    if output and message is None and status != "SUCCEEDED":
        message = output.said("StdOut")  # why a test was skipped
    took = clock(node.get("duration") or "")
    cases.add(node.get("testName"), status, prefix=node.get("testId"), nanoseconds=took, message=message)


def _placed(case: TestCase, places: dict[str, tuple[str, str]]) -> TestCase:
    """Return *case* with class and assembly in place of the test's id."""
    prefix, suite = places.get(case.prefix or "", ("", ""))
    return case.evolve(prefix=prefix or None, test_suite_name=suite or None)


def _class_of(node: xml.Node) -> str:
    """Return the class without the assembly that MSTest writes behind it."""
    return clean((node.get("className") or "").partition(",")[0].strip(), MOST_NAME)


def _file_of(storage: str | None) -> str:
    return (storage or "").replace("\\", "/").rpartition("/")[2]
