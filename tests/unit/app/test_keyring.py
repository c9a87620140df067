"""What opens sources, wired: logins written into locations, certificates by source, and what is swept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.app.keyring import SourceAccess, forget_dead
from agent.app.looks import look_at_sources
from agent.aws import Aws
from agent.daemon.intake import without_logins
from agent.errors import SourceRefused
from agent.kit.clock import SystemClock
from agent.model.project import EVERY_REPOSITORY, Environment, Project, ScopeConfiguration, Source, Webhook
from agent.objects.directory import DirectoryStore
from agent.settings.credentials import Credential
from agent.settings.schema import Settings
from agent.source.credentials import GitCredential, SshLogin
from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository

PLACE = "https://git.example.com/a/b.git"


def project(name: str, location: str, certificate: str | None = None) -> Project:
    environment = Environment(image="x", certificate=certificate)
    return Project(name=name, source=Source(type="GIT", location=location), environment=environment)


def access(room: Path, *projects: Project, **settings: object) -> SourceAccess:
    known: Mapping[str, Project] = {one.name: one for one in projects}
    return SourceAccess(
        Settings.model_validate(settings),
        Aws(region="eu-west-1"),
        SystemClock(),
        room,
        lambda location: DirectoryStore(Path(location.removeprefix("file://"))),
        lambda: known,
    )


def test_a_login_in_a_location_opens_the_build_whose_record_does_not_hold_it(tmp_path: Path) -> None:
    written = project("web", PLACE.replace("//", "//joe:hunter2@"))
    stored = without_logins(written)
    assert stored.source.location == PLACE
    opened = access(tmp_path, written)
    login = opened.accounts(stored.source)
    assert isinstance(login, GitCredential)
    assert (login.username, login.password.reveal()) == ("joe", "hunter2")
    assert opened.accounts.identity(stored.source) is None, "the mirror is that of this very login"
    assert "the login in its location" in opened.accounts.advice(stored.source)
    entry = {"host": "git.example.com", "token": "t0ken"}
    better = access(tmp_path, written, credentials=[entry]).accounts(stored.source)
    assert isinstance(better, GitCredential)
    assert better.password.reveal() == "t0ken"


def test_two_projects_with_different_logins_for_one_location_are_told_apart_by_nobody(tmp_path: Path) -> None:
    both = [project(name, PLACE.replace("//", f"//{name}:hunter2@")) for name in ("web", "api")]
    with pytest.raises(SourceRefused, match="different logins in the location") as caught:
        access(tmp_path, *both).accounts(Source(type="GIT", location=PLACE))
    assert "hunter2" not in str(caught.value)


def test_the_certificate_of_a_project_is_believed_for_its_own_source_only(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    opened = access(tmp_path / "room", project("web", PLACE, f"file://{tmp_path}/cert.pem"))
    bundle = opened.ca_file(Source(type="GIT", location=PLACE), None)
    assert bundle is not None
    assert bundle.is_relative_to(tmp_path / "room")
    assert opened.ca_file(Source(type="GIT", location="https://other.example.com/a/b"), None) is None
    opened.clear()
    assert not (tmp_path / "room").exists()


def test_rooms_of_processes_that_were_killed_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, check=True, text=True).stdout.strip()
    for name in (gone, str(os.getpid()), "other"):
        (tmp_path / name / "ssh").mkdir(parents=True)
    forget_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([str(os.getpid()), "other"])
    forget_dead(tmp_path / "none")


def test_each_source_is_looked_at_and_what_does_not_open_says_what_to_do(tmp_path: Path) -> None:
    Repository(tmp_path / "git").commit(file="x")
    with git_http(tmp_path / "git", ("x-access-token", "right")) as server:
        entry = Credential(host=server.url.removeprefix("http://"), path="app.git", token="right", allow_http=True)
        settings = Settings(runtime_dir=tmp_path / "run", credentials=(entry,))
        projects = {
            "good": project("good", f"{server.url}/app.git"),
            "bad": project("bad", f"{server.url}/other.git"),
            "local": project("local", (tmp_path / "git" / "app.git").as_uri()),
            "none": project("none", "x").evolve(source=Source(type="NO_SOURCE")),
        }
        found = {look.project: look for look in look_at_sources(settings, projects)}
    assert set(found) == {"good", "bad", "local"}
    assert not found["good"].trouble
    assert not found["local"].trouble
    assert "/other.git" in found["bad"].trouble
    assert "add an entry for its host to `credentials`" in found["bad"].hint
    assert not (tmp_path / "run").exists()


def test_credentials_that_change_hold_at_once_and_nothing_is_kept_of_those_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    monkeypatch.setenv("OLD_TOKEN", "old")
    token, ssh = {"host": "git.example.com", "token": "env:OLD_TOKEN"}, {"host": "h", "ssh_key": f"file:{key}"}
    opened = access(tmp_path / "room", credentials=[token, ssh])
    source = Source(type="GIT", location=PLACE)
    login = opened.accounts(Source(type="GIT", location="ssh://git@h/a/b"))
    assert isinstance(login, SshLogin)
    assert opened.accounts(source) is not None
    opened.renew((Credential(host="git.example.com", token="new"),))
    found = opened.accounts(source)
    assert isinstance(found, GitCredential)
    assert found.password.reveal() == "new"
    assert opened.accounts(Source(type="GIT", location="ssh://git@h/a/b")) is None
    assert login.key_file.read_text() == key.read_text(), "a fetch under way goes on"
    del login
    assert list((tmp_path / "room" / "ssh").iterdir()) == []
    opened.renew(())
    assert opened.accounts(source) is None


def test_the_certificate_of_a_project_for_a_whole_organisation_is_believed_for_every_repository_there(
    tmp_path: Path,
) -> None:
    pem = tmp_path / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null"]
    subprocess.run([*command, "-out", pem], check=True, capture_output=True)
    scope = ScopeConfiguration(name="a", scope="GITHUB_ORGANIZATION", domain="git.example.com")
    one = project("all", EVERY_REPOSITORY, f"file://{tmp_path}/ca.pem").evolve(
        webhook=Webhook(scope_configuration=scope)
    )
    one = one.evolve(source=one.source.evolve(type="GITHUB_ENTERPRISE"))
    opened = access(tmp_path / "room", one)
    assert opened.ca_file(Source(type="GITHUB_ENTERPRISE", location=PLACE), None) is not None
    assert opened.ca_file(Source(type="GITHUB_ENTERPRISE", location="https://other.example/a/b"), None) is None
