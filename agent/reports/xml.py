"""XML: the one door to the parser; walks result files of builds that nobody trusts, one element at a time."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from agent.errors import ReportInvalid

if TYPE_CHECKING:
    from pyexpat import XMLParserType

MOST_ELEMENTS = 2_000_000
"""Elements in one file: 64 MiB of JaCoCo's shortest lines have 1.4 million."""
MOST_DEPTH = 256
MOST_TEXT = 20_000
"""Characters that are kept of one element's text, four messages long."""
MOST_KEPT = 32
"""Children that one element keeps: a test case has a handful."""
MOST_TAG = 8
"""MiB of one tag or comment: a tag is held in memory whole, with many times its size if it has many attributes."""
_MIB = 1024 * 1024

_ENCODING = re.compile(rb"""^<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_SINGLE_BYTE = re.compile(r"iso8859-\d{1,2}|cp(125\d|437|850|852|866|1140)|koi8-[ru]|mac-roman")


class Node:
    """One element: local name, attributes, the element around it, and the children that the reader asked to keep."""

    __slots__ = ("_parts", "_size", "attributes", "kept", "name", "parent")

    def __init__(self, name: str, attributes: dict[str, str], parent: Node | None, *, with_text: bool) -> None:
        self.name = name
        self.attributes = attributes
        self.parent = parent
        self.kept: Sequence[Node] = ()
        self._parts: list[str] | None = [] if with_text else None
        self._size = 0

    @property
    def text(self) -> str:
        """Return the first `MOST_TEXT` characters of its own text, without the white space around it."""
        return "".join(self._parts or ())[:MOST_TEXT].strip()

    def get(self, name: str) -> str | None:
        """Return an attribute, or None."""
        return self.attributes.get(name)

    def child(self, *names: str) -> Node | None:
        """Return the first kept child with one of *names*, or None."""
        return next((node for node in self.kept if node.name in names), None)

    def said(self, name: str) -> str:
        """Return the text of the first kept child of that name; empty if there is none."""
        found = self.child(name)
        return found.text if found else ""

    def keep(self, node: Node) -> None:
        """Remember a child that has been read."""
        if len(self.kept) < MOST_KEPT:
            self.kept = [*self.kept, node]

    def listen(self, text: str) -> None:
        """Take up a piece of text, if anybody wants it."""
        if self._parts is not None and self._size < MOST_TEXT:
            self._parts.append(text)
            self._size += len(text)


Visit = Callable[[Node], None]


def walk(
    path: str,
    data: bytes,
    *,
    root: Sequence[str],
    closed: Visit,
    opened: Visit | None = None,
    keep: frozenset[str] = frozenset(),
    most: int = MOST_ELEMENTS,
) -> None:
    """Call *closed* (and *opened*) for every element of *data*, in document order; nothing but open elements is kept.

    *root* has the names that the outermost element may have, the usual one first. Elements named in *keep* have their
    text, and stay known to the element around them until that one is closed. Entities, external references and a DTD
    inside the file are refused; a DOCTYPE that only points somewhere passes, and nothing is fetched.

    Raises `ReportInvalid` if *data* is no such XML, has more than *most* elements, or is nested too deep.
    """
    target = _Target(path, root, closed, opened, keep, most)
    parser = _Parser(target, _encoding(path, data))
    try:
        for start in range(0, len(data), _MIB):
            target.quiet += 1
            parser.feed(data[start : start + _MIB])
            if target.quiet > MOST_TAG:
                raise ReportInvalid(f"{path}: one tag or comment is larger than {MOST_TAG} MiB")
        parser.close()
    except ElementTree.ParseError as error:
        raise ReportInvalid(f"{path}: {error}", hint="The file is no well-formed XML.") from None
    except DefusedXmlException as error:
        what = type(error).__name__
        raise ReportInvalid(f"{path}: declarations inside a DOCTYPE are not accepted ({what})") from None


class _Parser(ElementTree.DefusedXMLParser):
    """Lets a DOCTYPE pass that declares nothing itself, and calls the target without a detour."""

    parser: XMLParserType

    def __init__(self, target: _Target, encoding: str) -> None:
        super().__init__(target=target, encoding=encoding, forbid_dtd=True)
        self.parser.ordered_attributes = False
        self.parser.StartElementHandler = target.start
        self.parser.EndElementHandler = target.end

    def defused_start_doctype_decl(
        self, name: str, sysid: str | None, pubid: str | None, has_internal_subset: bool
    ) -> None:
        if has_internal_subset:  # default attributes multiply as well as entities do
            super().defused_start_doctype_decl(name, sysid, pubid, has_internal_subset)


class _Target:
    """What the parser calls."""

    def __init__(
        self,
        path: str,
        root: Sequence[str],
        closed: Visit,
        opened: Visit | None,
        keep: frozenset[str],
        most: int,
    ) -> None:
        self._path, self._root, self._keep, self._most = path, root, keep, most
        self._closed, self._opened = closed, opened
        self._node: Node | None = None
        self._depth = self._count = 0
        self.quiet = 0
        """MiB that were read since something was found in them."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag[tag.rfind("}") + 1 :]
        if self._node is None and name not in self._root:
            raise ReportInvalid(f"{self._path}: expected element type <{self._root[0]}> but have <{name[:100]}>")
        self.quiet = 0
        self._depth += 1
        self._count += 1
        if self._depth > MOST_DEPTH:
            raise ReportInvalid(f"{self._path}: elements are nested more than {MOST_DEPTH} deep")
        if self._count > self._most:
            raise ReportInvalid(f"{self._path}: more than {self._most:,} elements")
        node = self._node = Node(name, attributes, self._node, with_text=name in self._keep)
        if self._opened:
            self._opened(node)

    def end(self, _tag: str) -> None:
        node = self._node
        if node is None:
            return
        self._depth -= 1
        self._node = node.parent
        self._closed(node)
        if node.parent is not None and node.name in self._keep:
            node.parent.keep(node)

    def data(self, text: str) -> None:
        self.quiet = 0
        if self._node is not None:
            self._node.listen(text)

    def close(self) -> None:
        """Nothing is built, so nothing is returned."""


def _encoding(path: str, data: bytes) -> str:
    """Return the encoding to read *data* in, whatever a wrong declaration says of it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<")):
        little = data[:1] in (b"\xff", b"<")
        return "UTF-16LE" if little else "UTF-16BE"
    declared = _ENCODING.match(data.removeprefix(codecs.BOM_UTF8)[:300])
    if declared is None or data.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    name = declared[1].decode("ascii")
    try:
        known = codecs.lookup(name).name
    except LookupError:
        known = ""
    if known in ("utf-8", "ascii") or known.startswith("utf-16"):
        return "UTF-8"  # .NET writes "utf-16" into files that are none
    if _SINGLE_BYTE.fullmatch(known):
        return known
    raise ReportInvalid(f"{path}: the encoding {name!r} is not supported", hint="Write the file in UTF-8.")
