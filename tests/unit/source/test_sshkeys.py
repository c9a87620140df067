"""SSH with a key out of a reference: the file that it is put into, and a real server that it opens."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.errors import SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import SshLogin
from agent.source.sources import Sources
from agent.source.sshkeys import SshKeys
from tests.fakes.repository import Repository

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="there is no sshd on this machine")


def keygen(file: Path, *options: str, passphrase: str = "") -> str:
    """Make a key pair; return its private half."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(file), *options], check=True
    )
    return file.read_text()


@dataclass(frozen=True)
class Sshd:
    """A server on loopback that one key opens."""

    port: int
    key: str
    known_hosts: Path

    def url(self, path: Path) -> str:
        """Return where a repository on it is."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    place = tmp_path / "sshd"
    place.mkdir(mode=0o700)
    key = keygen(place / "client")
    keygen(place / "host")
    shutil.copy(place / "client.pub", place / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n"
        f"PidFile {place}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "KbdInteractiveAuthentication no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(place / "config")], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if "Server listening" in line:
            break
    drain = threading.Thread(target=server.stderr.read, daemon=True)
    drain.start()
    (place / "known").write_text(f"[127.0.0.1]:{port} {(place / 'host.pub').read_text()}")
    try:
        yield Sshd(port, key, place / "known")
    finally:
        server.terminate()
        server.wait()
        drain.join()
        server.stderr.close()


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


@needs_sshd
def test_a_deploy_key_opens_a_repository_and_only_a_server_that_is_known(
    repository: Repository, tmp_path: Path, sshd: Sshd
) -> None:
    keys = SshKeys(tmp_path / "keys")
    source = Source(type="GIT", location=sshd.url(repository.bare))
    file = keys.file_of(Secret(sshd.key.strip().replace("\n", "\\n")), "of a test")  # as a variable holds it
    login = SshLogin(file, sshd.known_hosts, "deploy")
    sources = Sources(tmp_path / "mirrors", credential_for=lambda _: login)
    assert sources.fetch(source, None, tmp_path / "ws", quiet).sha == repository.head
    assert sources.heads(source, ["refs/heads/*"]).refs == {"refs/heads/main": repository.head}
    for root in (tmp_path / "ws", tmp_path / "mirrors"):
        assert not any(str(file) in path.read_text(errors="replace") for path in root.rglob("*") if path.is_file())

    nobody = tmp_path / "nobody"
    nobody.touch()
    unknown = Sources(tmp_path / "m2", credential_for=lambda _: SshLogin(file, nobody))
    with pytest.raises(SourceRefused, match="host key is known") as caught:
        unknown.heads(source)
    assert "known_hosts" in caught.value.hint

    other = keys.file_of(Secret(keygen(tmp_path / "other")), "another")
    stranger = Sources(tmp_path / "m3", credential_for=lambda _: SshLogin(other, sshd.known_hosts))
    with pytest.raises(SourceRefused, match="Permission denied"):
        stranger.heads(source)


def test_a_key_lies_in_one_file_that_only_we_may_read(tmp_path: Path) -> None:
    keys = SshKeys(tmp_path / "keys")
    text = keygen(tmp_path / "k")
    file = keys.file_of(Secret(text), "x")
    assert keys.file_of(Secret(text.replace("\n", "\r\n").strip()), "x") == file
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert file.read_text() == text
    file.unlink()
    assert keys.file_of(Secret(text), "x").is_file()


def test_a_key_that_cannot_be_used_is_said_without_showing_it(tmp_path: Path) -> None:
    keys = SshKeys(tmp_path / "keys")
    locked = keygen(tmp_path / "locked", passphrase="hunter22")
    older = keygen(tmp_path / "pem", "-t", "rsa", "-b", "2048", "-m", "PEM", passphrase="hunter22")
    for text in (locked, older):
        with pytest.raises(SourceRefused, match="the SSH key of x is protected by a passphrase"):
            keys.file_of(Secret(text), "of x")
    with pytest.raises(SourceRefused, match="is a public key"):
        keys.file_of(Secret((tmp_path / "locked.pub").read_text()), "of x")
    for text in ("ghp_token", "", "-----BEGIN OPENSSH PRIVATE KEY-----"):
        with pytest.raises(SourceRefused, match="not a private key") as caught:
            keys.file_of(Secret(text), "of x")
        assert "ghp_token" not in str(caught.value)
    assert not (tmp_path / "keys").exists()


def test_a_key_that_nobody_needs_any_more_is_wiped_and_one_in_use_when_its_fetch_ends(tmp_path: Path) -> None:
    keys = SshKeys(tmp_path / "keys")
    text, other = Secret(keygen(tmp_path / "k")), Secret(keygen(tmp_path / "o"))
    in_use = SshLogin(keys.file_of(text, "x"), hold=keys.held(text, "x"))
    idle = keys.file_of(other, "y")
    linked = tmp_path / "linked"  # shows what became of the content
    linked.hardlink_to(idle)
    keys.let_go()
    assert in_use.key_file.read_text() == text.reveal()
    assert not idle.exists()
    assert set(linked.read_bytes()) == {0}
    again = keys.held(text, "x")
    assert again.file != in_use.key_file
    was = in_use.key_file
    del in_use
    assert not was.exists()
    assert again.file.read_text() == text.reveal(), "the end of the old fetch takes nothing from the new one"
