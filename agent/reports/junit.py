"""JUnit: `<testsuite>` and `<testsuites>`, as hundreds of test tools write them."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.errors import ReportInvalid
from agent.model.report import TestStatus
from agent.reports import xml
from agent.reports.fields import clean, nanoseconds, whole
from agent.reports.results import Cases, Counts, Results, Tally, said

_OUTCOMES: dict[str, TestStatus] = {"error": "ERROR", "failure": "FAILED", "skipped": "SKIPPED"}
_STATED: tuple[tuple[str, TestStatus], ...] = (("failures", "FAILED"), ("errors", "ERROR"), ("skipped", "SKIPPED"))
_KEPT = frozenset(_OUTCOMES)


def parse(path: str, data: bytes) -> Results:
    """Return the test cases of a JUnit file; the numbers are those of the suites' own attributes (buildspec.md 12.4).

    Raises `ReportInvalid` if the file cannot be read, or a suite's numbers contradict each other.
    """
    reader = _Reader(path)
    xml.walk(path, data, root=("testsuite", "testsuites"), opened=reader.opened, closed=reader.closed, keep=_KEPT)
    return reader.cases.results(reader.open[0].inner.counts())


@dataclass
class _Suite:
    """A suite that is being read: its cases, and the numbers of the suites inside it."""

    direct: Tally = field(default_factory=Tally)
    inner: Tally = field(default_factory=Tally)


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self.cases = Cases(path)
        self.open = [_Suite()]

    def opened(self, node: xml.Node) -> None:
        if node.name == "testsuite":
            self.open.append(_Suite())

    def closed(self, node: xml.Node) -> None:
        if node.name == "testcase":
            self._case(node)
        elif node.name == "testsuite":
            suite = self.open.pop()
            self.open[-1].inner.add(_numbers(self._path, node, suite))

    def _case(self, node: xml.Node) -> None:
        found = node.child("error") or node.child("failure") or node.child("skipped")
        status: TestStatus = _OUTCOMES[found.name] if found else "SUCCEEDED"
        if found is None and node.get("status") in ("notrun", "disabled"):  # googletest
            status = "SKIPPED"
        took = nanoseconds(node.get("time"))
        self.open[-1].direct.count(status, took)
        self.cases.add(
            node.get("name"),
            status,
            prefix=node.get("classname") or node.get("class"),
            suite=node.parent.get("name") if node.parent else None,
            nanoseconds=took,
            message=said(found.get("message"), found.text) if found else None,
        )


def _numbers(path: str, node: xml.Node, suite: _Suite) -> Counts:
    """Return a suite's numbers: its attributes where it has them, what was counted where it has none.

    Some tools count inner suites in the outer ones (PHPUnit), others do not.
    """
    total = whole(path, "testsuite", "tests", node.get("tests"))
    listed = Tally()
    listed.add(suite.direct.counts())
    listed.add(suite.inner.counts())
    took = nanoseconds(node.get("time"))
    if total is None:
        return listed.counts(took)
    beside = suite.inner.total > 0 and (total < suite.inner.total or 0 < suite.direct.total == total)
    own = _stated(path, node, total, suite.direct if beside else listed)
    if not beside:
        return own.counts(took or listed.nanoseconds)
    own.add(suite.inner.counts())
    return own.counts(took or listed.nanoseconds)


def _stated(path: str, node: xml.Node, total: int, counted: Tally) -> Tally:
    """Return the numbers of a suite that says how many tests it has; what it does not say comes from *counted*."""
    stated = {status: whole(path, "testsuite", name, node.get(name)) for name, status in _STATED}
    remaining = total - sum(many or 0 for many in stated.values())
    if remaining < 0 or min(total, *(many or 0 for many in stated.values())) < 0:
        said_so = " ".join(
            f'{name}="{clean(node.get(name), 20)}"' for name in ("tests", "failures", "errors", "skipped")
        )
        raise ReportInvalid(
            "InvalidInputException: Test summary: status count cannot be negative",
            hint=f'{path}: the suite "{clean(node.get("name"), 100)}" says {said_so}.',
        )
    own = Tally()
    for status, many in stated.items():
        own.by_status[status] = many if many is not None else min(counted.by_status[status], remaining)
        remaining -= own.by_status[status] if many is None else 0
    disabled = max(whole(path, "testsuite", "disabled", node.get("disabled")) or 0, 0)  # googletest
    if stated["SKIPPED"] is None:  # among those that were counted
        disabled = max(disabled - own.by_status["SKIPPED"], 0)
    disabled = min(disabled, remaining)
    own.by_status["SKIPPED"] += disabled
    own.by_status["SUCCEEDED"] = remaining - disabled
    return own
