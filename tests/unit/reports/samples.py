"""The sample files of real tools, by name."""

from __future__ import annotations

from pathlib import Path

from agent.reports.formats import FORMATS
from agent.reports.recognise import recognise
from agent.reports.results import Results
from agent.reports.summary import Outcome, summarise

FOLDER = Path(__file__).parent / "samples"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "README.md")
COVERAGE = ("JACOCOXML", "SIMPLECOV", "CLOVERXML", "COBERTURAXML")


def bytes_of(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def format_of(name: str) -> str:
    found = recognise(name, bytes_of(name))
    assert found is not None, name
    return found


def parsed(format_: str, text: str | bytes, path: str = "r.xml") -> Results:
    return FORMATS[format_].parse(path, text.encode() if isinstance(text, str) else text)


def outcome_of(name: str) -> Outcome:
    format_ = FORMATS[format_of(name)]
    return summarise(format_, [format_.parse(name, bytes_of(name))])
