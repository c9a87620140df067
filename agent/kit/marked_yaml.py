"""YAML whose values know where they stand: every scalar keeps its source text, every node its line and column.

The one door to PyYAML. YAML 1.1 without implicit typing: `NO`, `1.10` and `010` stay texts, and whoever reads a field
gives it its type. Merge keys (`<<`), anchors and aliases are resolved; of duplicate keys the last one wins, and all
are reported; of several documents the first one is read. Lines and columns count from 1.

Hostile input ends in a `MarkedYamlError`, never in a crash: nodes are built from the C scanner's events without
recursion, and size, depth and the expansion of aliases have limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import yaml

Path = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices (from 0) of sequences, the outermost first."""

Plain = str | list["Plain"] | dict[str, "Plain"] | None
"""A tree of plain Python values; a null scalar is None, every other scalar its text."""


class MarkedYamlError(ValueError):
    """The text is not YAML, or exceeds a limit. `message` is the scanner's words, without the place."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} at line {line}")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Limits:
    """What a text may cost: bytes in UTF-8, levels of nesting; nodes and characters after aliases are expanded."""

    max_bytes: int = 1 << 20
    max_depth: int = 64
    max_nodes: int = 100_000
    max_characters: int = 1 << 22


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as it is in the source; `plain` says that it has neither quotes, block style nor tag."""

    text: str
    line: int
    column: int
    plain: bool = True
    tag: str | None = None
    """A tag that the text gives it, such as `!Ref`; likewise of the other nodes."""

    @property
    def is_null(self) -> bool:
        """Whether YAML reads it as no value: nothing at all, `~`, or an unquoted `null`."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    items: tuple[Node, ...]
    line: int
    column: int
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the file; no two keys have the same text."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int
    tag: str | None = None

    def get(self, key: str) -> Node | None:
        """Return the value of *key*; None where the key is absent."""
        return next((value for name, value in self.entries if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """Return the key itself, which knows its place; None where it is absent."""
        return next((name for name, _ in self.entries if name.text == key), None)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that stands twice in one mapping, at the place of the later one, which wins."""

    key: str
    line: int
    column: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document. `root` is None when it has no content; `more` tells that others follow it."""

    root: Node | None
    duplicates: tuple[Duplicate, ...] = ()
    more: bool = False


def load(text: str | bytes, *, limits: Limits | None = None) -> Document:
    """Read the first document of *text* (bytes: UTF-8, or UTF-16 with a byte order mark).

    Raises MarkedYamlError, with the words of the scanner that CodeBuild's agent shares (libyaml's).
    """
    limits = limits or Limits()
    source = _decode(text, limits)
    builder = _Builder(limits, source)
    events = yaml.parse(source, Loader=yaml.CSafeLoader)
    try:
        for event in events:
            if isinstance(event, yaml.DocumentEndEvent):
                break
            builder.take(event)
        more = isinstance(next(events, None), yaml.DocumentStartEvent)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        place = min(found, builder.end)
        raise MarkedYamlError(error.problem or error.context or "not YAML", *place) from None
    except yaml.YAMLError as error:
        raise MarkedYamlError(str(error).partition("\n")[0] or "not YAML", 0, 0) from None
    duplicates = sorted(builder.duplicates, key=lambda twice: (twice.line, twice.column))
    return Document(builder.root, tuple(duplicates), more)


def to_plain(node: Node | None) -> Plain:
    """Return the tree under *node* as plain Python: texts, lists, dictionaries, and None for a null."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        return None if node.is_null else node.text
    if isinstance(node, Sequence):
        return [to_plain(item) for item in node.items]
    return {key.text: to_plain(value) for key, value in node.entries}


def find(root: Node | None, path: Path) -> tuple[int, int]:
    """Return line and column of the value at *path*, such as ("environment", "environmentVariables", 0, "name").

    A null value is found at its key. Where something on the way is missing, the place is that of the last key or
    item that is there; (0, 0) without a document.
    """
    if root is None:
        return (0, 0)
    node = root
    key_place = place = (root.line, root.column)
    for step in path:
        child = _child(node, step)
        if child is None:
            return key_place
        node, key_place = child
        place = key_place if isinstance(node, Scalar) and node.is_null else (node.line, node.column)
    return place


_Place = tuple[int, int]
"""Line and column, from 1."""

_LONGEST_NAME = 60
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEW_LINE = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def _child(node: Node, step: str | int) -> tuple[Node, _Place] | None:
    """Return the child of *node* that *step* leads to, and the place of its key (of an item: its own)."""
    if isinstance(node, Mapping):
        return next(((value, (key.line, key.column)) for key, value in node.entries if key.text == step), None)
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        item = node.items[step]
        return item, (item.line, item.column)
    return None


def _decode(text: str | bytes, limits: Limits) -> str:
    """Return *text* as characters that YAML allows, without a byte order mark."""
    if len(text) > limits.max_bytes or len(_encoded(text)) > limits.max_bytes:
        raise MarkedYamlError(f"the text has more than {limits.max_bytes} bytes", 1, 1)
    text = text if isinstance(text, str) else _characters(text)
    text = text.removeprefix("\ufeff")
    wrong = _UNPRINTABLE.search(text)
    if wrong:
        raise MarkedYamlError("control characters are not allowed", *_place_in(text, wrong.start()))
    return text


def _characters(data: bytes) -> str:
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        message = f"invalid {encoding.upper()}, not a text file in that encoding"
        raise MarkedYamlError(message, *_place_in(before, len(before))) from None


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _place_in(text: str, index: int) -> _Place:
    """Return line and column of the character at *index*."""
    line, start = 1, 0
    for match in _NEW_LINE.finditer(text, 0, index):
        line, start = line + 1, match.end()
    return line, index - start + 1


@dataclass(slots=True)
class _Frame:
    """A collection that is still open: what it holds so far, and how big it is with all aliases expanded."""

    place: _Place
    anchor: str | None
    mapping: bool
    tag: str | None = None
    items: list[Node] = field(default_factory=list)
    """The items of a sequence; of a mapping, keys and values in turn."""
    nodes: int = 1
    characters: int = 0
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A finished node, and what an alias to it adds: nodes, characters, and levels of nesting."""

    node: Node
    nodes: int
    characters: int
    height: int


class _Builder:
    """Makes the tree from the scanner's events, one at a time and without recursion."""

    def __init__(self, limits: Limits, source: str) -> None:
        self.root: Node | None = None
        self.duplicates: list[Duplicate] = []
        self._limits = limits
        self._source = source
        self._open: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None: the node is still open
        self._nodes = 0
        self._characters = 0

    @cached_property
    def end(self) -> _Place:
        """The place behind the last character; the scanner itself may count a line too many there."""
        return _place_in(self._source, len(self._source))

    def take(self, event: yaml.Event) -> None:
        """Take the next *event* of the document."""
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._take_alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            place = _start_of(event)
            self._count(1, 0, 1, place)
            if event.anchor is not None:
                self._anchors[event.anchor] = None
            self._open.append(_Frame(place, event.anchor, isinstance(event, yaml.MappingStartEvent), event.tag))
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._open.pop()
            self._add(self._close(frame), frame.nodes, frame.characters, frame.height, frame.anchor)

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        place = _start_of(event) if event.value else min(_start_of(event), self.end)
        if "\0" in event.value:  # written as an escape; neither a command nor a variable can hold it
            raise MarkedYamlError("control characters are not allowed", *place)
        self._count(1, len(event.value), 1, place)
        plain = event.style in (None, "") and event.tag is None
        self._add(Scalar(event.value, *place, plain, event.tag), 1, len(event.value), 1, event.anchor)

    def _take_alias(self, event: yaml.AliasEvent) -> None:
        name, place = event.anchor or "", _start_of(event)
        if name not in self._anchors:
            raise MarkedYamlError(f"unknown anchor '{name[:_LONGEST_NAME]}' referenced", *place)
        target = self._anchors[name]
        if target is None:
            raise MarkedYamlError(f"anchor '{name[:_LONGEST_NAME]}' value contains itself", *place)
        self._count(target.nodes, target.characters, target.height, place)
        self._add(target.node, target.nodes, target.characters, target.height, None)

    def _count(self, nodes: int, characters: int, height: int, place: _Place) -> None:
        """Refuse what would make the tree too big or too deep."""
        self._nodes += nodes
        self._characters += characters
        if self._characters > self._limits.max_characters:
            most = self._limits.max_characters
            raise MarkedYamlError(f"more than {most} characters after aliases are expanded", *place)
        if self._nodes > self._limits.max_nodes:
            raise MarkedYamlError(f"more than {self._limits.max_nodes} values after aliases are expanded", *place)
        if len(self._open) + height > self._limits.max_depth:
            raise MarkedYamlError(f"nested more than {self._limits.max_depth} levels deep", *place)

    def _add(self, node: Node, nodes: int, characters: int, height: int, anchor: str | None) -> None:
        """Put a finished node where it belongs; it is so many nodes and characters big, and so many levels high."""
        if anchor is not None:
            self._anchors[anchor] = _Anchored(node, nodes, characters, height)
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        frame.items.append(node)
        frame.nodes += nodes
        frame.characters += characters
        if height >= frame.height:
            frame.height = height + 1

    def _close(self, frame: _Frame) -> Node:
        if not frame.mapping:
            return Sequence(tuple(frame.items), *frame.place, frame.tag)
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(frame.items[::2], frame.items[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise MarkedYamlError("invalid map key", key.line, key.column)
            if key.plain and key.text == "<<":
                for name, inherited in _merge_entries(value):
                    merged.setdefault(name.text, (name, inherited))
                continue
            if key.text in own:
                first_line = own.pop(key.text)[0].line
                self.duplicates.append(Duplicate(key.text, key.line, key.column, first_line))
            own[key.text] = (key, value)
        inherited_entries = (entry for name, entry in merged.items() if name not in own)
        return Mapping((*inherited_entries, *own.values()), *frame.place, frame.tag)


def _merge_entries(value: Node) -> Iterator[tuple[Scalar, Node]]:
    """Yield what a merge key brings in, the strongest first."""
    sources = value.items if isinstance(value, Sequence) else (value,)
    for source in sources:
        if not isinstance(source, Mapping):
            raise MarkedYamlError("map merge requires map or sequence of maps as the value", value.line, value.column)
        yield from source.entries


def _start_of(event: yaml.Event) -> _Place:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
