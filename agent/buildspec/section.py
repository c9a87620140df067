"""Section: one mapping of a buildspec; reads its fields by type and files a finding for each that is wrong."""

from __future__ import annotations

from collections.abc import Collection

from agent.buildspec.problems import Findings, Weight, shown
from agent.kit.marked_yaml import Mapping, Node, Scalar, Sequence

_YES = frozenset(("yes", "true", "on", "y"))
_NO = frozenset(("no", "false", "off", "n"))
_LONGEST_KEY = 100


class Section:
    """A mapping whose keys are known.

    `path` is its place in the file as messages name it ("" for the document), `label` its name in CodeBuild's
    warning block. A value of the wrong shape has the section's `weight`: FATAL where leaving it out would change what
    the build does, WARNING where it is ignored, BATCH in what only a batch build reads.
    """

    def __init__(
        self, node: Mapping, findings: Findings, *, path: str, label: str = "", weight: Weight = Weight.FATAL
    ) -> None:
        self.node = node
        self.path = path
        self._findings = findings
        self._label = label or path
        self._weight = weight
        self._values = {key.text: value for key, value in node.entries}

    def only(self, known: Collection[str]) -> None:
        """File a finding for each key that is not *known* (buildspec.md 1.4)."""
        for key, _ in self.node.entries:
            if key.text not in known:
                self._findings.unknown_key(key, known, self._values, path=self.path, section=self._label)

    def lenient(self) -> Section:
        """Return the same section, in which a wrong shape is a warning."""
        return Section(self.node, self._findings, path=self.path, label=self._label, weight=Weight.WARNING)

    def has(self, key: str) -> bool:
        """Whether *key* is there, with or without a value."""
        return key in self._values

    def value(self, key: str) -> Node | None:
        """Return the value of *key*; None where it is absent or null, which is the same (buildspec.md 1.2)."""
        value = self._values.get(key)
        return None if isinstance(value, Scalar) and value.is_null else value

    def text(self, key: str) -> str | None:
        """Return a text; None where it is absent, null or empty."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, Scalar):
            return value.text or None
        self.wrong(value, key, "string")
        return None

    def yes_no(self, key: str) -> bool:
        """Return a yes/no field, in any of YAML 1.1's spellings; `no` where it is absent."""
        value = self.value(key)
        if value is None:
            return False
        word = value.text.strip().lower() if isinstance(value, Scalar) else ""
        if word not in _YES | _NO:
            given = f"`{shown(value.text)}`" if isinstance(value, Scalar) else "it"
            self.odd(value, f"{self.name_of(key)} is neither yes nor no", f": {given} counts as no")
        return word in _YES

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of texts; None where it is absent or null. Empty items are skipped with a warning."""
        items = self.items(key)
        if items is None:
            return None
        empty = [item for item in items if isinstance(item, Scalar) and item.is_null]
        if empty:
            self._findings.warning(empty[0], f"empty items of {self.name_of(key)} are skipped")
        found = []
        for index, item in enumerate(items):
            if not isinstance(item, Scalar):
                self.wrong(item, f"{key}[{index}]", "string")
            elif not item.is_null:
                found.append(item.text)
        return tuple(found)

    def items(self, key: str) -> tuple[Node, ...] | None:
        """Return the items of a list as they stand; one text counts as a list of one (buildspec.md 2.2)."""
        value = self.value(key)
        if isinstance(value, Sequence):
            return value.items
        if isinstance(value, Scalar):
            self._findings.warning(value, f"{self.name_of(key)} is a text and counts as a list with that one item")
            return (value,)
        if value is not None:
            self.wrong(value, key, "list")
        return None

    def table(self, key: str) -> dict[str, Scalar]:
        """Return a mapping of texts, as scalars with their places."""
        value = self.value(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(value, key, "map")
            return {}
        found = {}
        for name, item in value.entries:
            if isinstance(item, Scalar):
                found[name.text] = item
            else:
                self.wrong(item, f"{key}.{shown(name.text)}", "string")
        return found

    def section(self, key: str, *, label: str = "", weight: Weight | None = None) -> Section | None:
        """Return the mapping under *key*; None where it is absent, null or of another shape."""
        value = self.value(key)
        if value is None:
            return None
        weight = weight or self._weight
        if isinstance(value, Mapping):
            return Section(value, self._findings, path=self.name_of(key), label=label, weight=weight)
        _wrong_shape(self._findings, value, self.name_of(key), "map", weight)
        return None

    def sections(self) -> tuple[tuple[Scalar, Section], ...]:
        """Return the mappings under freely chosen names (report groups, secondary artifacts), with those names."""
        found = []
        for key, _ in self.node.entries:
            section = self.section(key.text)
            if section is not None:
                found.append((key, section))
        return tuple(found)

    def each(self, key: str) -> tuple[Section, ...]:
        """Return the mappings of a list, each with its place in `path`; what is none has the section's weight."""
        value = self.value(key)
        if not isinstance(value, Sequence):
            if value is not None:
                self.wrong(value, key, "list")
            return ()
        found = []
        for index, item in enumerate(value.items):
            if isinstance(item, Mapping):
                name = self.name_of(f"{key}[{index}]")
                found.append(Section(item, self._findings, path=name, weight=self._weight))
            else:
                self.wrong(item, f"{key}[{index}]", "map")
        return tuple(found)

    def wrong(self, value: Node, key: str, wanted: str) -> None:
        """File that the value of *key* has not the *wanted* shape (string, list or map)."""
        _wrong_shape(self._findings, value, self.name_of(key), wanted, self._weight)

    def odd(self, value: Node, words: str, consequence: str) -> None:
        """File a value that makes no sense: what only a batch reads is wrong, anything else has its *consequence*."""
        if self._weight is Weight.BATCH:
            self._findings.batch(value, words)
        else:
            self._findings.warning(value, words + consequence)

    def name_of(self, key: str) -> str:
        """Return the path of *key* for a message, such as `artifacts.files`."""
        return f"{self.path}.{shown(key, _LONGEST_KEY)}" if self.path else shown(key, _LONGEST_KEY)


def _wrong_shape(findings: Findings, value: Node, name: str, wanted: str, weight: Weight) -> None:
    """File that the value called *name* is not of the *wanted* shape."""
    words = f"Expected {name} to be of {wanted} type: found {_shape(value)} instead"
    match weight:
        case Weight.FATAL:
            findings.fatal(value.line, value.column, f"{words} at line {value.line}")
        case Weight.WARNING:
            findings.warning(value, f"{words}; it is ignored")
        case Weight.BATCH:
            findings.batch(value, words)


def _shape(value: Node) -> str:
    if isinstance(value, Mapping):
        return "subkeys"
    return "a list" if isinstance(value, Sequence) else "a string"
