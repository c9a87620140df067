"""What buildspecd says to a folder of buildspec files: `python -m tests.corpus FOLDER [--json] [--index FILE]`.

For every file: accepted, warned or refused, with all problems and their places, and the time it took; then a summary
by class of message. `--index` names a table (tabs; columns `id` and `class`) to compare with; files are then called
`<id>__<name>`. Exit status 1: buildspecd broke on a file, or took more than 50 ms of processor time for one; 2: the
folder or the index cannot be read. The files themselves belong to their authors and are not part of this project.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.cli.plaintext import plain
from tests.corpus.index import Disagreement, compare, read_index
from tests.corpus.verdict import BROKEN, Judgement, classes, judge

SECONDS_ALLOWED = 0.05


@dataclass(frozen=True)
class Report:
    """All that a run has found out."""

    files: Sequence[Judgement]
    disagreements: Sequence[Disagreement]
    absent: Sequence[str]

    @property
    def slow(self) -> list[Judgement]:
        """The files over the time limit."""
        return [file for file in self.files if file.seconds > SECONDS_ALLOWED]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many files got which verdict."""
        return dict(Counter(file.verdict for file in self.files))

    @property
    def failed(self) -> bool:
        """Whether buildspecd broke on a file, or was too slow."""
        return bool(self.slow) or BROKEN in self.verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _options(arguments)
    try:
        index = read_index(options.index) if options.index else None
        paths = _files(options.folder)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    files = [judge(path, path.relative_to(options.folder).as_posix()) for path in paths]
    disagreements, absent = compare(files, index) if index is not None else ([], [])
    report = Report(files, disagreements, absent)
    if options.json:
        print(json.dumps(_document(report), indent=1))
    else:
        print("\n".join(map(plain, _lines(report))))
    return 1 if report.failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of buildspec files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--index", type=Path, help="table of the expected classes")
    return parser.parse_args(arguments)


def _files(folder: Path) -> list[Path]:
    """Return the files below *folder*, links left out. Raises ValueError where there are none."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not found:
        raise ValueError(f"no files in {folder}")
    return found


def _document(report: Report) -> dict[str, object]:
    return {
        "files": [asdict(file) for file in report.files],
        "verdicts": report.verdicts,
        "classes": [
            {"files": files, "problems": problems, "class": kind} for files, problems, kind in _classes(report)
        ],
        "disagreements": [asdict(item) for item in report.disagreements],
        "absent": list(report.absent),
        "slow": [file.name for file in report.slow],
    }


def _classes(report: Report) -> list[tuple[int, int, str]]:
    return classes(report.files)


def _lines(report: Report) -> Iterator[str]:
    for file in report.files:
        yield f"{file.verdict:<9}{file.seconds * 1000:6.1f} ms  {file.name}"
        for problem in file.problems:
            mark = "" if problem.fatal else "warning: "
            yield f"    {problem.line}:{problem.column}: {mark}{problem.message}"
        if file.fault:
            yield f"    {file.fault}"
    yield ""
    yield "files  problems  class of message"
    for files, problems, kind in _classes(report):
        yield f"{files:5}  {problems:8}  {kind}"
    if report.disagreements:
        yield ""
        yield "the index says otherwise:"
        for item in report.disagreements:
            yield f"    {item.name}: {item.verdict}, in the index {item.indexed}"
    yield ""
    yield from _sums(report)


def _sums(report: Report) -> Iterator[str]:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.verdicts.items()))
    yield f"{len(report.files)} files: {counts}"
    if report.absent:
        yield f"{len(report.absent)} of the index are not here: {' '.join(report.absent)}"
    slowest = max(report.files, key=lambda file: file.seconds)
    yield f"the slowest took {slowest.seconds * 1000:.1f} ms of {SECONDS_ALLOWED * 1000:.0f} allowed: {slowest.name}"
    if report.slow:
        yield f"over the time limit: {' '.join(file.name for file in report.slow)}"


if __name__ == "__main__":
    sys.exit(main())
