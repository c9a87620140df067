"""Formats: the result files that can be read, each with the function that reads it (buildspec.md 12.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from agent.errors import ReportInvalid
from agent.model.report import ReportType
from agent.reports import clover, cobertura, cucumber, jacoco, junit, nunit, simplecov, testng, trx
from agent.reports.recognise import HEAD_BYTES, recognise
from agent.reports.results import Counts, Results

__all__ = ["FORMATS", "MOST_BYTES", "Counts", "Format", "Results", "format_named"]

MOST_BYTES = 64 * 1024 * 1024
"""Size of the largest file that is read; whoever opens it need not read more than one byte beyond."""

Parse = Callable[[str, bytes], Results]


@dataclass(frozen=True)
class Format:
    """One format. `parse` takes the file's path (for messages and `testRawDataPath`) and all of its bytes.

    It raises `ReportInvalid`, and nothing else, whatever the bytes are.
    """

    name: str
    type: ReportType
    parse: Parse


def format_named(text: str) -> Format:
    """Return the format that a buildspec's `file-format` names, in any case.

    Raises `ReportInvalid` with the names that there are.
    """
    name = text.strip().upper()
    if name in FORMATS:
        return FORMATS[name]
    close = get_close_matches(name[:40], FORMATS, n=1)
    hint = f"Did you mean {close[0]}?" if close else "See the file-format of reports in docs/REPORTS.md."
    raise ReportInvalid(f"unknown file-format {text[:40]!r}; there are {', '.join(FORMATS)}", hint=hint)


def _guarded(name: str, parse: Parse) -> Parse:
    """Return *parse* with what holds for every format: bounds on the size, and a word on files of another format."""

    def guarded(path: str, data: bytes) -> Results:
        if len(data) > MOST_BYTES:
            raise ReportInvalid(f"{path}: larger than {MOST_BYTES // 1024 // 1024} MiB")
        if not data:
            raise ReportInvalid(f"{path}: the file is empty", hint="Did the tests end before they wrote it?")
        try:
            return parse(path, data)
        except ReportInvalid as error:
            seen = recognise(path, data[:HEAD_BYTES])
            if seen in (None, name):
                raise
            raise ReportInvalid(error.message, hint=f"It looks like {seen}: say so in file-format.") from None

    return guarded


def _formats() -> Mapping[str, Format]:
    tests: dict[str, Parse] = {
        "JUNITXML": junit.parse,
        "NUNITXML": nunit.parse_second,
        "NUNIT3XML": nunit.parse_third,
        "CUCUMBERJSON": cucumber.parse,
        "TESTNGXML": testng.parse,
        "VISUALSTUDIOTRX": trx.parse,
    }
    coverage: dict[str, Parse] = {
        "JACOCOXML": jacoco.parse,
        "SIMPLECOV": simplecov.parse,
        "CLOVERXML": clover.parse,
        "COBERTURAXML": cobertura.parse,
    }
    every = {name: Format(name, "TEST", _guarded(name, parse)) for name, parse in tests.items()}
    every |= {name: Format(name, "CODE_COVERAGE", _guarded(name, parse)) for name, parse in coverage.items()}
    return MappingProxyType(every)


FORMATS: Mapping[str, Format] = _formats()
