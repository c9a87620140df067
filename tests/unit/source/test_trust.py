"""Private certificate authorities, proxies and `insecureSsl`, for git's own process and for the looks in process."""

from __future__ import annotations

import io
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SourceRefused
from agent.kit.clock import SystemClock
from agent.model.project import Source
from agent.objects.directory import DirectoryStore
from agent.objects.store import ObjectStore
from agent.source.git import Git
from agent.source.remote import _ask, read_heads
from agent.source.sources import Sources
from agent.source.trust import TrustedCAs, certificates
from tests.fakes.git_http import GitHttpServer, git_http
from tests.fakes.proxy import forward_proxy
from tests.fakes.repository import Repository


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `cert.pem` and `key.pem` of 127.0.0.1, which no system vouches for."""
    place = tmp_path_factory.mktemp("ca")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", place / "key.pem", "-out", place / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return place


class SecureServer(GitHttpServer):
    """Says goodbye as TLS wants it, and is not surprised by those who do not believe it."""

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            request.unwrap()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(repository: Repository, authority: Path) -> Iterator[str]:
    """The address of a git server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    with SecureServer(repository.bare.parent, None) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()
            thread.join()


def open_store(location: str) -> ObjectStore:
    return DirectoryStore(Path(location.removeprefix("file://")))


def trusted(place: Path, ca_file: Path | None = None) -> TrustedCAs:
    return TrustedCAs(place, open_store, SystemClock(), ca_file=ca_file)


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def test_a_private_authority_is_believed_by_the_settings_or_the_project_and_by_no_others(
    server: str, repository: Repository, authority: Path, tmp_path: Path
) -> None:
    source = Source(type="GIT", location=f"{server}/app.git")
    with pytest.raises(SourceRefused, match="certificate") as caught:
        Sources(tmp_path / "m0").heads(source)
    assert "git.ca_file" in caught.value.hint
    with pytest.raises(SourceRefused, match="certificate"):
        Sources(tmp_path / "m0").fetch(source, None, tmp_path / "w0", quiet)

    by_settings = trusted(tmp_path / "ca", authority / "cert.pem")
    sources = Sources(tmp_path / "m1", ca_file=lambda _, certificate: by_settings.bundle(certificate))
    assert sources.heads(source).head == repository.head
    assert sources.fetch(source, None, tmp_path / "w1", quiet).sha == repository.head
    assert Sources(tmp_path / "m1", ca_file=lambda _, certificate: by_settings.bundle(certificate)).remote(source)

    by_project = trusted(tmp_path / "ca2")
    sources = Sources(tmp_path / "m2", ca_file=lambda _, certificate: by_project.bundle(certificate))
    with pytest.raises(SourceRefused, match="certificate"):
        sources.heads(source)
    location = f"file://{authority}/cert.pem"
    assert sources.fetch(source, None, tmp_path / "w2", quiet, certificate=location).sha == repository.head
    assert "ca" not in (tmp_path / "w2" / ".git" / "config").read_text().replace("false", "")


@pytest.mark.parametrize(
    ("type_", "opens"), [("GIT", True), ("GITHUB_ENTERPRISE", True), ("GITLAB_SELF_MANAGED", True), ("GITHUB", False)]
)
def test_insecure_ssl_holds_for_servers_of_one_s_own_only(
    server: str, repository: Repository, tmp_path: Path, type_: str, opens: bool
) -> None:
    source = Source(type=type_, location=f"{server}/app.git", insecure_ssl=True)  # type: ignore[arg-type]
    remote = Sources(tmp_path).remote(source)
    assert remote is not None
    if opens:
        assert Sources(tmp_path).heads(source).head == repository.head
        assert _ask(Git(), remote, (), None).head == repository.head
    else:
        with pytest.raises(SourceRefused, match="certificate"):
            Sources(tmp_path).heads(source)
        with pytest.raises(SourceRefused, match="certificate"):
            _ask(Git(), remote, (), None)


def test_a_bundle_holds_the_system_s_certificates_as_well_and_is_private(authority: Path, tmp_path: Path) -> None:
    own = (authority / "cert.pem").read_bytes()
    bundle = trusted(tmp_path / "ca", authority / "cert.pem").bundle(None)
    assert bundle is not None
    assert own.strip() in bundle.read_bytes()
    assert ssl.create_default_context(cafile=str(bundle)).cert_store_stats()["x509_ca"] >= 1
    assert trusted(tmp_path / "ca").bundle(None) is None
    assert (bundle.stat().st_mode & 0o777, bundle.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def test_a_zip_of_certificates_does_as_well_and_what_is_none_is_said(authority: Path) -> None:
    own = (authority / "cert.pem").read_bytes()
    assert certificates(zipped(readme=b"x", certs__a=own), "a.zip").strip() == own.strip()
    torn = own.replace(b"\nMII", b"\n!!!", 1)
    broken = b"PK\x03\x04" + own[:300]
    for content in (b"", b"PK\x03\x04", zipped(key=b"x"), torn, broken, zipped(big=b"\0" * (2 << 20))):
        with pytest.raises(SourceRefused):
            certificates(content, "it")


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"environment\.certificate .*none\.pem does not exist"):
        trusted(tmp_path / "ca").bundle(f"file://{tmp_path}/none.pem")
    with pytest.raises(SourceRefused, match=r"git\.ca_file .* cannot be read"):
        trusted(tmp_path / "ca", tmp_path / "none.pem").bundle(None)
    with pytest.raises(SourceRefused):
        trusted(tmp_path / "ca").bundle("not a location")


def test_the_proxy_of_the_environment_is_gone_through_by_git_and_by_the_look_in_process(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with git_http(repository.bare.parent) as server, forward_proxy() as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        source = Source(type="GIT", location=f"{server.url}/app.git")
        sources = Sources(tmp_path / "mirrors")
        assert read_heads(Git(), sources.remote(source), ()).head == repository.head  # type: ignore[arg-type]
        by_git = len(proxy.asked)
        assert by_git
        assert sources.heads(source).head == repository.head
        assert len(proxy.asked) == by_git + 1
        sources.fetch(source, None, tmp_path / "ws", quiet)
        assert len(proxy.asked) > by_git + 2
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        before = len(proxy.asked)
        assert sources.heads(source).head == repository.head
        assert read_heads(Git(), sources.remote(source), ()).head == repository.head  # type: ignore[arg-type]
        assert len(proxy.asked) == before
