"""The script that tries buildspecd on a folder of buildspec files, on files of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus import __main__ as script
from tests.corpus.index import compare, read_index
from tests.corpus.verdict import BROKEN, Judgement, classes, judge

FILES = {
    "01__buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - make\n",
    "02__buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: [make]\n  pre-build:\n    commands: [x]\n",
    "03__buildspec.yml": 'version: 0.2\nphases:\n  build:\n    commands:\n      - echo "a: b"\n',
    "sub/04__buildspec.yml": "version: 0.2\n\tphases:\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "files"


def test_each_file_is_judged_with_all_its_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {
        file["name"]: (file["verdict"], [problem["line"] for problem in file["problems"]]) for file in report["files"]
    }
    assert found == {
        "01__buildspec.yml": ("accepted", []),
        "02__buildspec.yml": ("warned", [5]),
        "03__buildspec.yml": ("refused", [5]),
        "sub/04__buildspec.yml": ("refused", [2]),
    }
    assert report["verdicts"] == {"accepted": 1, "warned": 1, "refused": 2}
    assert report["slow"] == []


def test_the_text_ends_with_classes_of_messages_and_sums(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    5:3: warning: unknown key `pre-build` in phases is ignored; did you mean `pre_build`?" in lines
    assert "    1         1  warning: unknown key * in a section is ignored" in lines
    assert "4 files: 1 accepted, 2 refused, 1 warned" in lines


def test_an_index_shows_where_opinions_differ(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "index.tsv"
    index.write_text("id\trepo\tclass\n01\ta/b\tvalid\n02\ta/b\tvalid\n03\ta/b\todd-shape\n05\ta/b\tvalid\n")
    assert script.main([str(folder), "--index", str(index), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["disagreements"] == [
        {"name": "02__buildspec.yml", "indexed": "valid", "verdict": "warned"},
        {"name": "sub/04__buildspec.yml", "indexed": "(not in the index)", "verdict": "refused"},
    ]
    assert report["absent"] == ["05"]


def test_a_file_over_the_time_limit_or_a_break_fails_the_run() -> None:
    fine = Judgement("a", "accepted", (), 0.01)
    assert not script.Report([fine], [], []).failed
    assert script.Report([fine, Judgement("b", "accepted", (), 0.06)], [], []).failed
    assert script.Report([Judgement("c", BROKEN, (), 0.0, "KeyError: 'x'")], [], []).failed


def test_a_file_that_cannot_be_read_is_told_and_no_traceback(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "gone.yml", "gone.yml")
    assert judgement.verdict == BROKEN
    assert judgement.fault.startswith("FileNotFoundError")


def test_a_class_of_messages_has_no_names_places_or_advice(tmp_path: Path) -> None:
    for number, text in enumerate(("version: 9\nphases: {}\n", "phases: {}\nversion: 8\nx: 1\n", "a b: [\n")):
        (tmp_path / f"{number}.yml").write_text(text)
    counted = classes(judge(path, path.name) for path in sorted(tmp_path.iterdir()))
    assert (2, 2, "invalid buildspec version") in counted
    assert (1, 1, "warning: unknown key * at the top level is ignored") in counted


def test_a_folder_or_index_of_no_use_is_a_sentence_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "no-table.tsv").write_text("nothing\n")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.yml").write_text("version: 0.2\n")
    for arguments in ([str(tmp_path / "gone")], [str(tmp_path / "files"), "--index", str(tmp_path / "no-table.tsv")]):
        done = subprocess.run([sys.executable, "-m", "tests.corpus", *arguments], capture_output=True, text=True)
        assert done.returncode == 2, done
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


def test_what_fits_a_class_of_the_index_is_no_disagreement(tmp_path: Path) -> None:
    index = tmp_path / "index.tsv"
    index.write_text("id\tclass\n1\tnot-codebuild\n2\tvalid+unknown-keys\n3\ttemplate\n")
    judged = [
        Judgement(f"{number}__x.yml", verdict, (), 0.0)
        for number, verdict in ((1, "refused"), (2, "warned"), (3, "warned"))
    ]
    assert compare(judged, read_index(index)) == ([], [])
