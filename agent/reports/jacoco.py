"""JaCoCo: the XML report, one entry a source file."""

from __future__ import annotations

from agent.reports import xml
from agent.reports.fields import covered, whole
from agent.reports.lines import Amount, Track
from agent.reports.results import Results
from agent.reports.sources import Sources


def parse(path: str, data: bytes) -> Results:
    """Return the coverage of a JaCoCo file. Raises `ReportInvalid`.

    A source file is named by its groups (modules), its package and its own name. The numbers are those of its counters.
    """
    sources = Sources(path)
    reader = _Reader(path, sources)
    xml.walk(path, data, root=("report",), opened=reader.opened, closed=reader.closed)
    return sources.results()


class _Reader:
    def __init__(self, path: str, sources: Sources) -> None:
        self._path, self._sources = path, sources
        self._place = ""
        self._track: Track | None = None
        """The source file that is being read."""
        self._counted: dict[str, tuple[int, int]] = {}

    def opened(self, node: xml.Node) -> None:
        if node.name == "sourcefile":
            self._place = _place(node)
            self._track = self._sources.track(self._place)
            self._counted.clear()

    def closed(self, node: xml.Node) -> None:
        if self._track is None:
            return
        if node.name == "line":
            self._line(node, self._track)
        elif node.name == "counter":
            self._counted[node.get("type") or ""] = (self._many(node, "covered"), self._many(node, "missed"))
        elif node.name == "sourcefile":
            if "LINE" in self._counted:
                amount = Amount(*self._counted["LINE"], *self._counted.get("BRANCH", (0, 0)))
                self._sources.state(self._place, amount)
            self._track = None

    def _line(self, node: xml.Node, track: Track) -> None:
        number = whole(self._path, "line", "nr", node.get("nr"))
        if number is None or number < 0:
            return
        track.line(number, ran=covered(self._path, "line", "ci", node.get("ci")) > 0)
        taken = self._many(node, "cb")
        track.branch(number, taken, taken + self._many(node, "mb"))

    def _many(self, node: xml.Node, name: str) -> int:
        return max(whole(self._path, node.name, name, node.get(name)) or 0, 0)


def _place(node: xml.Node) -> str:
    """Return `group/package/File.java`."""
    parts: list[str] = []
    at: xml.Node | None = node
    while at is not None and at.name != "report":
        parts.append(at.get("name") or "")
        at = at.parent
    return "/".join(part for part in reversed(parts) if part)
