"""The helper that git asks in a container for the login of a server, under three shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import agent.container
from tests.shell.harness import SHELLS

HELPER = Path(agent.container.__file__).parent / "commands" / "git-credential-buildspecd"
LOGINS = """protocol=https
host=h.example
path=a/b.git
username=for-b
password=p=a ss\\n$(id)'

protocol=https
host=h.example
username=any
password=one

protocol=http
host=127.0.0.1:8080
path=v1/repos/shop
username=AKID%token
password=two
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    program = shutil.which(SHELLS[request.param])
    assert program, f"this test needs {request.param}"
    link = tmp_path / "sh"
    link.symlink_to(program)
    (tmp_path / "logins").write_text(LOGINS)
    return link


def ask(shell: Path, asked: str, word: str = "get", logins: str = "logins") -> str:
    command = [shell, HELPER, word, shell.parent / logins]
    return subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=10).stdout


def test_the_login_of_the_server_is_handed_out_as_it_stands(shell: Path) -> None:
    assert ask(shell, "protocol=https\nhost=h.example\n\n") == "username=any\npassword=one\n"
    assert ask(shell, "protocol=https\nhost=h.example\npath=a/b.git\nwwwauth[]=Basic\n") == (
        "username=for-b\npassword=p=a ss\\n$(id)'\n"
    )
    assert ask(shell, "protocol=https\nhost=h.example\npath=other\n\n") == "username=any\npassword=one\n"


@pytest.mark.parametrize(
    "asked",
    [
        "protocol=http\nhost=h.example\n\n",
        "protocol=https\nhost=h.example:444\n\n",
        "protocol=https\nhost=evil.h.example\n\n",
        "protocol=https\nhost=h.exampl?\n\n",
        "protocol=http\nhost=127.0.0.1:8080\n\n",
        "protocol=http\nhost=127.0.0.1:8080\npath=v1/repos/other\n\n",
        "host=h.example\n\n",
        "\n",
        "",
    ],
)
def test_nobody_else_gets_anything(shell: Path, asked: str) -> None:
    assert ask(shell, asked) == ""


def test_what_git_wants_to_store_or_erase_is_none_of_its_business(shell: Path) -> None:
    for word in ("store", "erase", "help"):
        assert ask(shell, "protocol=https\nhost=h.example\n\n", word) == ""
    assert ask(shell, "protocol=https\nhost=h.example\n\n", logins="missing") == ""
