"""Mirrors that no build uses go; one of many packs is put together when nothing runs."""

from __future__ import annotations

import os
from pathlib import Path

from agent.daemon.mirrorsweep import MANY_PACKS, sweep_mirrors
from agent.source.git import Git
from agent.source.mirror import Mirrors


def a_mirror(root: Path, name: str, at: float) -> Path:
    path = root / f"{name}.git"
    (path / "objects" / "pack").mkdir(parents=True)
    os.utime(path, (at, at))
    return path


def test_mirrors_that_no_build_used_for_long_go_and_those_of_open_builds_stay(tmp_path: Path) -> None:
    old, used, new = (a_mirror(tmp_path, name, at) for name, at in (("old", 10), ("used", 10), ("new", 30)))
    mirrors = Mirrors(tmp_path, Git())
    sweep_mirrors(mirrors, {used}, None, quiet=False)
    assert old.exists()
    sweep_mirrors(mirrors, {used}, 20, quiet=False)
    assert (old.exists(), used.exists(), new.exists()) == (False, True, True)


def test_a_mirror_of_many_packs_is_compacted_in_a_quiet_hour_only(tmp_path: Path) -> None:
    mirrors = Mirrors(tmp_path, Git())
    path = a_mirror(tmp_path, "many", 10)
    Git().ask("init", "--quiet", "--bare", str(path))
    for number in range(MANY_PACKS + 1):
        (path / "objects" / "pack" / f"pack-{number:040x}.pack").touch()
    sweep_mirrors(mirrors, (), None, quiet=False)
    assert not Path(f"{path}.lock").exists()
    sweep_mirrors(mirrors, (), None, quiet=True)  # that these packs are no packs is not the janitor's trouble
    assert Path(f"{path}.lock").exists()
