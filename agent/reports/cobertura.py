"""Cobertura: the XML of coverage.py, Istanbul, coverlet, gcovr, PHPUnit and Cobertura itself."""

from __future__ import annotations

import re

from agent.errors import ReportInvalid
from agent.reports import xml
from agent.reports.fields import MOST_WHOLE, covered, whole
from agent.reports.lines import Track
from agent.reports.results import Results
from agent.reports.sources import Sources

_CONDITIONS = re.compile(r"\((\d{1,9})/(\d{1,9})\)")


def parse(path: str, data: bytes) -> Results:
    """Return the coverage of a Cobertura file. Raises `ReportInvalid`.

    The classes of one source file are taken together, line by line. Lines inside of methods are the same ones again,
    and are passed over.
    """
    sources = Sources(path)

    def opened(node: xml.Node) -> None:
        if node.name in ("project", "testproject") and node.parent and node.parent.parent is None:
            raise ReportInvalid(f"{path}: expected element type <packages> but have <{node.name}>")
        if node.name == "class" and node.get("filename"):
            sources.track(node.get("filename"))

    def closed(node: xml.Node) -> None:
        if node.name == "line" and node.parent and node.parent.name == "lines":
            class_ = node.parent.parent
            if class_ is not None and class_.name == "class" and class_.get("filename"):
                _line(path, sources.track(class_.get("filename")), node)

    xml.walk(path, data, root=("coverage",), opened=opened, closed=closed)
    return sources.results()


def _line(path: str, track: Track, node: xml.Node) -> None:
    number = whole(path, "line", "number", node.get("number"))
    if number is None or number < 0:
        return
    track.line(number, ran=covered(path, "line", "hits", node.get("hits")) > 0)
    found = _CONDITIONS.search((node.get("condition-coverage") or "")[:100])
    if found:
        track.branch(number, min(int(found[1]), MOST_WHOLE), min(int(found[2]), MOST_WHOLE))
