"""A fetch that nobody wants any more ends soon, and takes git and its helpers with it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from agent.kit.heed import heeding
from agent.model.project import Source
from agent.source.sources import Sources


class Enough(Exception):
    """What the test ends the fetch with."""


def test_a_fetch_from_a_server_that_says_nothing_ends_with_its_processes(tmp_path: Path) -> None:
    taken: list[socket.socket] = []
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            taken.append(listener.accept()[0])
            asked.set()

        def check() -> None:
            if asked.is_set():
                raise Enough

        threading.Thread(target=take, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.git"
        with heeding(check), pytest.raises(Enough):
            Sources(tmp_path / "mirrors").fetch(Source(type="GIT", location=address), None, tmp_path / "w", print)
        taken[0].settimeout(60)
        while taken[0].recv(65536):
            pass  # the question of git; after it comes the end, as the process that asked is gone
        taken[0].close()
