"""Finds or makes the container images that tests run in; nothing is fetched that is there already."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BUSYBOX = "buildspecd-test/busybox:1"
DEBIAN = "buildspecd-test/debian:1"

RUNTIMES = """
version: 0.1
runtimes:
  golang:
    versions:
      1.20: {commands: ['echo "go $GO_20 in $PWD"', export GOROOT=/go/$GO_20, cd /tmp]}
      default: {commands: ['echo "custom go $VERSION"', 'export GOROOT=/go/custom-$VERSION']}
  ruby:
    versions:
      3.2: {requires: {golang: ["1.20"]}, commands: [GEM_HOME=$GOROOT/gems]}
  python:
    versions:
      3.11: {commands: [echo before, 'echo $SECRET; exit 4', echo after]}
      3.12: {commands: ['echo waiting; until [ -e $CODEBUILD_SRC_DIR/go ]; do sleep 0.05; done']}
"""
"""What the image of `runtimes_image` can switch to."""

_VERSION = "1"
_SUITE = "bookworm"
_PACKAGES = "ca-certificates,bash,curl,git,python3"
_FRESH_SECONDS = 30 * 86400


def docker(*arguments: str, stdin: io.BufferedReader | None = None, data: bytes | None = None) -> str:
    """Run the docker client; return what it printed."""
    command = ["docker", *arguments]
    done = subprocess.run(command, stdin=stdin, input=data, check=True, capture_output=True, timeout=600)
    return done.stdout.decode().strip()


@functools.cache
def has_docker() -> bool:
    """Whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def busybox_image() -> str:
    """Return an image of busybox alone (`/bin/sh` is ash), made from the host's static binary."""
    _need_docker()
    with _locked("busybox"):
        if not _present(BUSYBOX):
            binary = shutil.which("busybox")
            if binary is None or b"statically" not in _file_kind(Path(binary)):
                pytest.skip("needs a static busybox: apt-get install busybox-static")
            _import(BUSYBOX, data=_busybox_tar(Path(binary)))
    return BUSYBOX


def debian_image() -> str:
    """Return a Debian image with dash, bash, git, python3, curl and util-linux; its tarball is kept for a month."""
    _need_docker()
    with _locked("debian"):
        if not _present(DEBIAN):
            with _debian_tar().open("rb") as tar:
                _import(DEBIAN, stdin=tar)
    return DEBIAN


def runtimes_image() -> str:
    """Return busybox with a list of runtimes (buildspec.md 9), and with variables that it uses."""
    base = busybox_image()
    tag = f"buildspecd-test/runtimes:{hashlib.sha256(RUNTIMES.encode()).hexdigest()[:12]}"
    with _locked("runtimes"):
        if not _present(tag):
            _commit_runtimes(base, tag)
    return tag


def _commit_runtimes(base: str, tag: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("codebuild/image/config/runtimes.yml")
        member.size = len(RUNTIMES.encode())
        tar.addfile(member, io.BytesIO(RUNTIMES.encode()))
    container = docker("create", base)
    try:
        docker("cp", "-", f"{container}:/", data=buffer.getvalue())
        docker("commit", "--change", "ENV GO_20=1.20.14 PICKED=1.20", container, tag)
    finally:
        docker("rm", container)


def _need_docker() -> None:
    if not has_docker():
        pytest.skip("needs a Docker engine")


def _present(tag: str) -> bool:
    return bool(docker("images", "--quiet", tag))


def _import(tag: str, stdin: io.BufferedReader | None = None, data: bytes | None = None) -> None:
    changes = ["--change", 'CMD ["/bin/sh"]', "--change", "LABEL buildspecd-test=1"]
    docker("import", *changes, "-", tag, stdin=stdin, data=data)


def _file_kind(binary: Path) -> bytes:
    """Return `statically` for an ELF file that asks for no dynamic loader."""
    content = binary.read_bytes()
    return b"dynamically" if b"ld-linux" in content[:8192] else b"statically"


def _busybox_tar(binary: Path) -> bytes:
    applets = subprocess.run([binary, "--list"], check=True, capture_output=True).stdout.decode().split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "root", "tmp"):
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(tar, "bin/busybox", data=binary.read_bytes(), mode=0o755)
        _add(tar, "etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nu1:x:1001:1001::/home/u1:/bin/sh\n")
        _add(tar, "etc/group", data=b"root:x:0:\nu1:x:1001:\n")
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    *,
    data: bytes = b"",
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.size = kind, mode, link, len(data)
    tar.addfile(member, io.BytesIO(data))


def _debian_tar() -> Path:
    cached = _cache() / f"debian-{_SUITE}-{_VERSION}.tar"
    if cached.exists() and time.time() - cached.stat().st_mtime < _FRESH_SECONDS:
        return cached
    if shutil.which("mmdebstrap") is None:
        if cached.exists():
            return cached
        pytest.skip("needs mmdebstrap: apt-get install mmdebstrap")
    aside = cached.with_suffix(f".{os.getpid()}.part.tar")
    try:
        command = ["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(aside)]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        aside.replace(cached)
    finally:
        aside.unlink(missing_ok=True)
    return cached


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(home) / "buildspecd"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one test process at a time make an image."""
    with (_cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
