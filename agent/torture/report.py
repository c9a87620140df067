"""Report: what a torture run did and found, for eyes, for machines and for a page of documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.torture.run import Result

_MOST = 60


def as_document(result: Result) -> dict[str, Any]:
    """Return the report as JSON: `kept`, `seed`, `kills`, `builds`, `kinds`, `violations` and more."""
    verdict = result.verdict
    return {
        "kept": result.kept,
        "seed": result.order.seed,
        "minutes": result.order.minutes,
        "image": result.order.image,
        "host": result.host,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 1),
        "settleSeconds": round(result.settle_seconds, 1),
        "kills": result.kills,
        "starts": result.starts,
        "builds": verdict.sums.get("builds", 0),
        "kinds": len(result.faults),
        "faults": dict(sorted(result.faults.items())),
        "skipped": result.skipped,
        "sums": dict(sorted(verdict.sums.items())),
        "daemon": {"memoryKiB": result.memory_kib, "openFiles": result.open_files},
        "violations": [{"promise": one.promise, "build": one.build, "what": one.what} for one in verdict.violations],
        "allowed": verdict.allowed,
        "evidence": str(result.place) if result.place else None,
    }


def text(result: Result) -> str:
    """Return the report for eyes."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    sums = result.verdict.sums
    yield f"{result.host}; image {result.order.image}"
    yield (
        f"seed {result.order.seed}, {result.seconds:.0f} s of faults, {result.settle_seconds:.0f} s until settled"
        + (", interrupted" if result.interrupted else "")
    )
    ended = ", ".join(
        f"{count} {name.removeprefix('ended ')}" for name, count in sums.items() if name.startswith("ended ")
    )
    yield f"{sums.get('builds', 0)} builds ({ended})"
    yield f"{sums.get('lines', 0):,} lines, {sums.get('bytes', 0):,} bytes of log"
    yield f"{result.kills} kills, {result.starts} starts; {len(result.faults)} kinds of fault:"
    yield "  " + ", ".join(f"{name} {count}" for name, count in sorted(result.faults.items()))
    yield from (f"skipped: {what}" for what in result.skipped)
    yield f"the last daemon: {result.memory_kib // 1024} MiB, {result.open_files} open files"
    for what in result.verdict.allowed[:_MOST]:
        yield f"allowed: {what}"
    for one in result.verdict.violations[:_MOST]:
        yield f"VIOLATED {one.promise}: {f'{one.build}: ' if one.build else ''}{one.what}"
    count = len(result.verdict.violations)
    yield f"{count} violated promise{'' if count == 1 else 's'}" if count else "every promise was kept"
    if result.place:
        yield f"evidence: {result.place}"


def markdown(result: Result) -> str:
    """Return the report as a section of a page."""
    document, sums = as_document(result), result.verdict.sums
    rows = [
        ("host", result.host),
        ("command", f"`buildspecd torture --seed {result.order.seed} --minutes {result.order.minutes:g}`"),
        ("faults for", f"{result.seconds:.0f} s, then {result.settle_seconds:.0f} s until all was settled"),
        ("kills (SIGKILL of the daemon)", f"{result.kills:,}; {result.starts:,} starts"),
        ("builds", f"{document['builds']:,}"),
        *((name, f"{count:,}") for name, count in sorted(sums.items()) if name != "builds"),
        ("the last daemon", f"{result.memory_kib // 1024} MiB of memory, {result.open_files} open files"),
        ("kinds of fault", str(len(result.faults))),
        ("**violated promises**", f"**{len(result.verdict.violations)}**"),
        ("documented exceptions", str(len(result.verdict.allowed))),
    ]
    lines = [f"### Seed {result.order.seed}, {result.order.minutes:g} minutes", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    lines += ["", "| fault | times |", "| --- | --- |"]
    lines += [f"| {name} | {count:,} |" for name, count in sorted(result.faults.items())]
    for title, entries in (
        ("Skipped", result.skipped),
        ("Documented exceptions", result.verdict.allowed),
        ("Violated", [f"{one.promise} {one.build}: {one.what}" for one in result.verdict.violations]),
    ):
        if entries:
            lines += ["", f"{title}:", "", *(f"* {entry}" for entry in entries[:_MOST])]
    return "\n".join(lines) + "\n"
