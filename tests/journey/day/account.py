"""Account: what became of every head that was ever pushed, by what the agent itself says of its builds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.journey.daemon import Json
from tests.journey.day.plan import Plot

_SUPERSEDED = re.compile(r"superseded by build (?P<number>\d+) of the same branch")


@dataclass
class Account:
    """What is wrong with the builds of one repository, and how its heads ended."""

    plot: Plot
    wrong: list[str] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)


def settle(plot: Plot, heads: Mapping[str, Sequence[str]], builds: Sequence[Json]) -> Account:
    """Hold *builds* against the *heads* of each ref: each is built once, or a later one says that it stands for it."""
    account = Account(plot)
    strange = [build for build in builds if head_of(build) not in {head for one in heads.values() for head in one}]
    account.wrong += [f"build {one['buildNumber']} is of {head_of(one)}, which nobody pushed" for one in strange]
    numbers = {build["buildNumber"]: build for build in builds}
    for ref, line in heads.items():
        covered = set(_covered(line, builds))
        for index, head in enumerate(line):
            mine = [build for build in builds if head_of(build) == head]
            what = f"{ref} {index + 1}/{len(line)} {head[:12]}"
            if len(mine) > 1:
                account.wrong.append(f"{what} was built {len(mine)} times")
            elif not mine and index in covered:
                account.sums["passed over"] += 1
            elif not mine:
                account.wrong.append(f"{what} was not built, and no build says that it stands for it")
            elif _is_green(mine[0]):
                account.sums["built"] += 1
            elif _is_behind(mine[0], index, line, numbers):
                account.sums["stopped"] += 1
            else:
                account.wrong.append(f"{what} ended {mine[0]['buildStatus']} {mine[0]['buildspecd'].get('stopReason')}")
        if line and not any(head_of(build) == line[-1] and _is_green(build) for build in builds):
            account.wrong.append(f"{ref}: the last head {line[-1][:12]} was not built")
    return account


def shown(heads: Mapping[str, Sequence[str]], builds: Sequence[Json]) -> str:
    """Return the story of a repository, for eyes."""
    lines = [f"  {ref}: {' '.join(head[:12] for head in line)}" for ref, line in heads.items()]
    for one in builds:
        ours = one["buildspecd"]
        facts = (ours.get("previousRevision") or "-")[:12], ours.get("passedOver"), ours.get("stopReason")
        lines.append(f"  {one['buildNumber']} {one['initiator']} {head_of(one)[:12]} {one['buildStatus']} {facts}")
    return "\n".join(lines)


def head_of(build: Json) -> str:
    """Return the commit, or the version of an object, that a build is of."""
    return str(build.get("resolvedSourceVersion") or build.get("sourceVersion"))


def _is_green(build: Json) -> bool:
    resolved = build["source"]["type"] == "S3" or build.get("resolvedSourceVersion") == build["sourceVersion"]
    return bool(build["buildStatus"] == "SUCCEEDED" and resolved)


def _is_behind(build: Json, index: int, line: Sequence[str], numbers: Mapping[int, Json]) -> bool:
    """Whether a build was stopped because that of a later head was asked for."""
    match = _SUPERSEDED.fullmatch(build["buildspecd"].get("stopReason") or "")
    newer = numbers.get(int(match["number"])) if match else None
    return build["buildStatus"] == "STOPPED" and newer is not None and head_of(newer) in line[index + 1 :]


def _covered(line: Sequence[str], builds: Sequence[Json]) -> Iterator[int]:
    """Yield the places in *line* for which a build of a later place says that it stands.

    The first build of a ref, without previous revision, stands for all that was there before the agent saw the ref.
    """
    first = min((build["buildNumber"] for build in builds if head_of(build) in line), default=0)
    for build in builds:
        if head_of(build) not in line:
            continue
        end, ours = line.index(head_of(build)), build["buildspecd"]
        spans = [span.split("..") for span in ours.get("passedOver", ())]
        if ours.get("previousRevision") or build["buildNumber"] == first:
            spans.append([ours.get("previousRevision") or "-", head_of(build)])
        for old, new in spans:
            start = line.index(old) if old in line else -1
            stop = line.index(new) if new in line else -1
            yield from range(start + 1, min(stop + 1, end))
