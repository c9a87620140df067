"""Auditing a log: what arrived is what the build wrote, masked, whole, in order, once, everywhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from agent.torture.evidence import Found
from agent.torture.recipes import FREE

_SHOWN = 160
_ENTERING = re.compile(r"^\[Container\] \S+ \S+ (Entering phase \w+|Phase complete: \w+ State: \w+)", re.MULTILINE)
_STARTS_OVER = "starting over"


def wrong_lines(found: Found, *, whole: bool) -> Iterator[str]:
    """Yield what a log lacks of what its build wrote. *whole*: its commands came to their own end, so all is there."""
    if found.recipe is None:
        return
    text = found.spool.decode(errors="replace")
    attempts = text.split(_STARTS_OVER)
    # An attempt whose container was lost says what it has said; the last one is the build.
    for place, part in enumerate(attempts):
        yield from _streams(part, found.recipe.tag, found.recipe.streams(), whole=whole and place == len(attempts) - 1)
    if len(attempts) == 1:
        yield from _doubled_phases(text)


def wrong_copies(found: Found) -> Iterator[str]:
    """Yield where a sink has another log than this host, and nothing on record says so."""
    if not found.spool and not any(one["phaseType"] == "PROVISIONING" for one in found.build["phases"]):
        return  # it ended in the queue, and nobody said anything
    ours = found.build["buildspecd"]["logs"]
    gaps = {gap["sink"] for gap in ours["gaps"]}
    for sink, problem in ours["problems"].items():
        yield f"the record says of its sink {sink}: {problem}"
    for sink, count in ours["delivered"].items():
        if count != ours["bytes"] and sink not in gaps:
            yield f"sink {sink} has {count} of {ours['bytes']} bytes, and no gap says why"
    if ours["bytes"] != len(found.spool):
        yield f"the record says {ours['bytes']} bytes, the log on this host has {len(found.spool)}"
    if found.copy is None:
        yield "its log is not in S3"
    elif found.copy != found.spool:
        yield f"S3 has another log than this host: {_difference(_lines(found.spool), _lines(found.copy))}"
    if "cloudwatch" not in gaps:
        here, there = _lines(found.spool), [message.rstrip("\n") for message in found.messages]
        blank = [line if line.strip() else "" for line in here]
        if blank != [message if message.strip() else "" for message in there]:
            yield f"CloudWatch has another log than this host: {_difference(blank, there)}"


def _lines(data: bytes) -> list[str]:
    lines = data.decode(errors="replace").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _difference(here: Sequence[str], there: Sequence[str]) -> str:
    pairs = enumerate(zip(here, there, strict=False), start=1)
    number, pair = next(((n, pair) for n, pair in pairs if pair[0] != pair[1]), (min(len(here), len(there)) + 1, None))
    shown = f"{pair[0][:_SHOWN]!r} against {pair[1][:_SHOWN]!r}" if pair else "one of them ends"
    return f"{len(here)} lines here, {len(there)} there; they part in line {number}: {shown}"


def _streams(text: str, tag: str, expected: Mapping[str, tuple[str, ...]], *, whole: bool) -> Iterator[str]:
    there: dict[str, list[str]] = {stream: [] for stream in expected}
    own = re.compile(rf"^@{re.escape(tag)} (\S+) .*$", re.MULTILINE)
    for match in own.finditer(text):
        if match[1] not in there:
            yield f"a line that nobody should have written: {match[0][:_SHOWN]!r}"
            continue
        there[match[1]].append(match[0])
    strange = [line for line in re.findall(r"^@.*$", text, re.MULTILINE) if not line.startswith(f"@{tag} ")]
    # A build that was killed in the middle of a line leaves a piece of one.
    if strange and (whole or len(strange) > 1 or not f"@{tag} ".startswith(strange[0])):
        yield f"a line of somebody else: {strange[0][:_SHOWN]!r}"
    for stream, wanted in expected.items():
        if problem := _compare(stream, there[stream], wanted, whole=whole and stream not in FREE):
            yield problem


def _compare(stream: str, there: list[str], wanted: Sequence[str], *, whole: bool) -> str:
    """Return what is wrong with the lines of one stream; empty: nothing."""
    for place, line in enumerate(there):
        if place < len(wanted) and line == wanted[place]:
            continue
        if not whole and place == len(there) - 1 and place < len(wanted) and wanted[place].startswith(line):
            return ""  # cut off in the middle by the end of its container
        kind = _kind(line, there[:place], wanted)
        expected = wanted[place] if place < len(wanted) else "nothing"
        return f"stream {stream}, line {place + 1}: {kind}: {line[:_SHOWN]!r} where {expected[:_SHOWN]!r} belongs"
    if whole and len(there) < len(wanted):
        return f"stream {stream}: {len(there)} of {len(wanted)} lines; missing from {wanted[len(there)][:_SHOWN]!r} on"
    return ""


def _kind(line: str, before: Sequence[str], wanted: Sequence[str]) -> str:
    if line in before:
        return "doubled"
    return "one before it is missing" if line in wanted else "damaged"


def _doubled_phases(text: str) -> Iterator[str]:
    seen: set[str] = set()
    for match in _ENTERING.finditer(text):
        if match[1] in seen:
            yield f"the agent says twice: {match[1]}"
        seen.add(match[1])
