"""Parse: the text of a buildspec to what it says, with every problem on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from agent.buildspec import grammar
from agent.buildspec.batch import read_batch
from agent.buildspec.buildspec import Buildspec, Version
from agent.buildspec.outputs import read_artifacts, read_cache, read_reports
from agent.buildspec.phases import read_phases
from agent.buildspec.plan import ProxyPlan
from agent.buildspec.problems import Findings, Weight, shown
from agent.buildspec.section import Section
from agent.buildspec.variables import read_variables
from agent.kit.marked_yaml import Document, Mapping, MarkedYamlError, Scalar, load

NOT_A_BUILDSPEC = "wrong number of container tags, expected 1"
BAD_VERSION = "invalid buildspec version"

_VERSIONS: tuple[Version, ...] = ("0.1", "0.2")
_NUMBER = re.compile(r"\s*\+?[0-9]{0,9}\.?[0-9]{1,9}\s*")

_ADVICE = (
    ("cannot start any token", "indent with spaces, not with tabs; quote a text that begins with @, ` or %"),
    ("tab character", "indent with spaces, not with tabs"),
    (
        "mapping values are not allowed",
        "check the indentation; quote a text that holds a colon and a space, or ends with a colon",
    ),
    ("expected alphabetic or numeric character", "quote a text that begins with * or &, such as the pattern '**/*'"),
    ("expected comment or line break", "quote a text that begins with | or >"),
    ("invalid map key", "quote a text that begins with {"),
    ("could not find expected ':'", "check the indentation of this line and of the one before it"),
    ("did not find expected", "check the indentation, quotes and brackets on this line and before it"),
)
"""Part of a scanner's message, and what usually mends it; the first that fits counts."""


@dataclass(frozen=True)
class Reading:
    """What a file says and what is wrong with it. After a fatal problem `buildspec` is as far as it got."""

    buildspec: Buildspec
    findings: Findings


def read_buildspec(text: str | bytes, *, name: str) -> Reading:
    """Read *text*, the file called *name* in problems; never raises, reports every problem of the file at once.

    Shape errors have the words of buildspec.md 1.3, unknown keys those of 1.4. A wrong shape is fatal where leaving
    it out would change what the build runs or uploads (phases, env, artifacts, run-as); elsewhere it is a warning.
    """
    findings = Findings(name)
    try:
        document = load(text)
    except MarkedYamlError as error:
        findings.fatal(error.line, error.column, f"{error.message} at line {error.line}", _advice(error.message))
        return Reading(Buildspec(), findings)
    for duplicate in document.duplicates:
        place = Scalar(duplicate.key, duplicate.line, duplicate.column)
        message = f"key `{shown(duplicate.key)}` stands twice: the one on line {duplicate.first_line} is ignored"
        findings.warning(place, message)
    root = _root(document, findings)
    return Reading(Buildspec() if root is None else _read(root, findings), findings)


def _advice(message: str) -> str:
    """Return what mends the most frequent syntax errors; empty where we know no better than the message."""
    return next((advice for part, advice in _ADVICE if part in message), "")


def _root(document: Document, findings: Findings) -> Section | None:
    """Return the document's mapping; None, with a finding, where the document is not shaped like a buildspec."""
    node = document.root
    keys = {key.text for key, _ in node.entries} if isinstance(node, Mapping) else set()
    if not isinstance(node, Mapping) or not keys & {"version", "phases", "batch"}:
        line, column = (node.line, node.column) if node else (1, 1)
        advice = "a buildspec is a mapping that begins with `version: 0.2` and has `phases`"
        findings.fatal(line, column, NOT_A_BUILDSPEC, advice)
        return None
    if document.more:
        findings.warning(node, "the file holds several documents: only the first is used")
    return Section(node, findings, path="", label="buildspec")


def _read(root: Section, findings: Findings) -> Buildspec:
    version = _version(root, findings)
    root.only(grammar.OLD_ROOT if version == "0.1" else grammar.ROOT)
    variables, shell = read_variables(root, version, findings)
    phases, runtimes = read_phases(root, findings)
    artifacts, secondary = read_artifacts(root, version, findings)
    return Buildspec(
        version=version,
        run_as=root.text("run-as"),
        shell=shell,
        variables=variables,
        phases=phases,
        runtime_versions=runtimes,
        artifacts=artifacts,
        secondary_artifacts=secondary,
        cache=read_cache(root, findings),
        reports=read_reports(root, findings),
        proxy=_proxy(root),
        batch=read_batch(root, findings),
    )


def _version(root: Section, findings: Findings) -> Version:
    """Return the dialect: the number 0.1 or 0.2, in quotes or not. Where it is wrong, the rest is read as 0.2.

    A file with a batch and no phases needs none: those of CodeBuild's own guide have none, and such files are in use.
    """
    node = root.value("version")
    if isinstance(node, Scalar) and _NUMBER.fullmatch(node.text):
        for version in _VERSIONS:
            if Decimal(node.text) == Decimal(version):
                return version
    place = node or root.node.key("version") or root.node
    if node is None and root.value("batch") is not None and not root.has("phases"):
        findings.warning(place, "the batch has no `version`: it is read as version 0.2")
        return "0.2"
    advice = "write `version: 0.2`"
    findings.fatal(place.line, place.column, BAD_VERSION, advice)
    return "0.2"


def _proxy(root: Section) -> ProxyPlan:
    """Return the section `proxy`; its flags only matter to an agent behind an explicit proxy (buildspec.md 8)."""
    proxy = root.section("proxy", weight=Weight.WARNING)
    if proxy is None:
        return ProxyPlan()
    proxy.only(grammar.PROXY)
    return ProxyPlan(upload_artifacts=proxy.yes_no("upload-artifacts"), logs=proxy.yes_no("logs"))
