"""Git LFS: files come with the checkout where the host has git-lfs, with the repository's login and from its server."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential
from agent.source.sources import Sources
from tests.fakes import git_http
from tests.fakes.git_http import GitHttpServer
from tests.fakes.repository import Repository

LOGIN = ("x-access-token", "t0p-s3cret")
CONTENT = b"\0big" * 1000
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(CONTENT)}\n"
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="there is no git-lfs on this machine")


class LfsHandler(git_http._Handler):
    """Adds the batch API of LFS to a git server."""

    def _serve(self, body: bytes) -> None:
        if "/info/lfs/" not in self.path and not self.path.startswith("/objects/"):
            super()._serve(body)
            return
        given = self.headers.get("Authorization")
        self.server.requests.append((self.path, given))
        if self.path == f"/objects/{OID}":
            self._say(200, CONTENT)
        elif given != git_http._basic(*LOGIN):
            self.send_response(401)
            self.send_header("LFS-Authenticate", 'Basic realm="git"')
            self.end_headers()
        else:
            place = f"http://127.0.0.1:{self.server.server_address[1]}/objects/"
            wanted = json.loads(body)["objects"]
            objects = [{**one, "actions": {"download": {"href": place + one["oid"]}}} for one in wanted]
            self._say(200, json.dumps({"transfer": "basic", "objects": objects}).encode())

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(repository: Repository) -> Iterator[GitHttpServer]:
    repository.commit(
        **{
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.bin": POINTER,
            ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/stolen\n",
        }
    )
    with GitHttpServer(repository.bare.parent, LOGIN) as running:
        running.RequestHandlerClass = LfsHandler
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sources(place: Path, password: str = LOGIN[1]) -> Sources:
    credential = GitCredential(LOGIN[0], Secret(password), identity="one")
    return Sources(place / "mirrors", credential_for=lambda _: credential)


@needs_lfs
def test_lfs_files_come_with_the_checkout_once_and_leave_no_login(server: GitHttpServer, tmp_path: Path) -> None:
    lines: list[str] = []
    source = Source(type="GIT", location=f"{server.url}/app.git")
    for workspace in (tmp_path / "one", tmp_path / "two"):
        sources(tmp_path).fetch(source, None, workspace, lines.append)
        assert (workspace / "a.bin").read_bytes() == CONTENT
        assert "access" not in (workspace / ".git" / "config").read_text()
        assert not list((workspace / ".git" / "hooks").glob("*"))
    assert lines == [f"Fetching Git LFS files from {server.url}/app.git/info/lfs"] * 2
    assert [path for path, _ in server.requests].count(f"/objects/{OID}") == 1, (
        "the second build has it from the mirror"
    )
    secret = LOGIN[1].encode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]


@needs_lfs
def test_an_lfs_server_that_says_no_fails_the_source(
    server: GitHttpServer, repository: Repository, tmp_path: Path
) -> None:
    missing = hashlib.sha256(b"missing").hexdigest()
    repository.commit(**{"b.bin": POINTER.replace(OID, missing)})
    with pytest.raises(Exception, match="Git LFS") as caught:
        sources(tmp_path).fetch(Source(type="GIT", location=f"{server.url}/app.git"), None, tmp_path / "w", print)
    assert LOGIN[1] not in str(caught.value)


def test_a_host_without_git_lfs_says_what_to_install(
    server: GitHttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "sh", "env"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))
    lines: list[str] = []
    source = Source(type="GIT", location=f"{server.url}/app.git")
    sources(tmp_path).fetch(source, None, tmp_path / "ws", lines.append)
    assert (tmp_path / "ws" / "a.bin").read_text() == POINTER
    assert len(lines) == 1
    assert "install git-lfs on the host" in lines[0]


def test_attributes_that_lead_out_of_the_tree_are_not_read(repository: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "attributes"
    outside.write_text("* filter=lfs\n")
    (repository.work / ".gitattributes").symlink_to(outside)
    repository.commit(x="1")
    lines: list[str] = []
    Sources(tmp_path / "m").fetch(Source(type="GIT", location=repository.url), None, tmp_path / "ws", lines.append)
    assert lines == []
