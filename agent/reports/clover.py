"""Clover: the XML of OpenClover, PHPUnit, Istanbul (jest, nyc, c8) and others."""

from __future__ import annotations

from agent.errors import ReportInvalid
from agent.reports import xml
from agent.reports.fields import covered, whole
from agent.reports.lines import Amount, Track
from agent.reports.results import Results
from agent.reports.sources import Sources

_METRICS = ("coveredstatements", "statements", "coveredconditionals", "conditionals")


def parse(path: str, data: bytes) -> Results:
    """Return the coverage of a Clover file. Raises `ReportInvalid`.

    Numbers are those of a file's own `metrics` (statements and conditionals), or else of its lines.
    """
    sources = Sources(path)
    first: list[str] = []

    def opened(node: xml.Node) -> None:
        if node.parent and node.parent.parent is None and not first:
            first.append(node.name)
            if node.name not in ("project", "testproject"):
                raise ReportInvalid(f"{path}: expected element type <project> but have <{node.name[:100]}>")

    def closed(node: xml.Node) -> None:
        if node.name == "file":
            sources.track(_place(node))
        file = _file_around(node)
        if file is not None and node.name == "line" and node.get("type") != "method":
            _line(path, sources.track(_place(file)), node)
        elif file is not None and node.name == "metrics" and node.parent is file:
            _metrics(path, sources, node, file)

    xml.walk(path, data, root=("coverage",), opened=opened, closed=closed)
    return sources.results()


def _line(path: str, track: Track, node: xml.Node) -> None:
    number = whole(path, "line", "num", node.get("num"))
    if number is None or number < 0:
        return
    if node.get("type") == "cond":
        sides = [covered(path, "line", name, node.get(name)) for name in ("truecount", "falsecount")]
        ran = any(side > 0 for side in sides) or covered(path, "line", "count", node.get("count")) > 0
        track.branch(number, sum(side > 0 for side in sides), 2)
    else:
        ran = covered(path, "line", "count", node.get("count")) > 0
    track.line(number, ran=ran)


def _metrics(path: str, sources: Sources, node: xml.Node, file: xml.Node) -> None:
    if not node.get("statements"):
        return
    done, every, taken, branches = (max(whole(path, "metrics", name, node.get(name)) or 0, 0) for name in _METRICS)
    done, taken = min(done, every), min(taken, branches)
    sources.state(_place(file), Amount(done, every - done, taken, branches - taken))


def _file_around(node: xml.Node) -> xml.Node | None:
    """Return the file that an element is about; it stands directly in it, or in one of its classes."""
    outer = node.parent
    if outer is not None and outer.name == "class":
        outer = outer.parent
    return outer if outer is not None and outer.name == "file" else None


def _place(file: xml.Node) -> str | None:
    return file.get("path") or file.get("name")
