"""The HTTP listener with webhooks behind it, and no builds running: `python -m tests.fakes.hook_server DIRECTORY`.

Every repository `https://github.com/octo/NAME` of the projects p0 to p9 takes pushes that are signed with SECRET.
The port is written to `DIRECTORY/port`.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from agent.daemon.intake import Identity, Intake
from agent.kit.clock import SystemClock
from agent.kit.files import write_atomic
from agent.kit.logging import configure
from agent.kit.service import StopToken
from agent.model.project import Environment, Project, Source, Webhook
from agent.model.secret import Secret
from agent.pipeline.recorder import Recorder
from agent.store.database import Database
from agent.store.hooks import Hooks
from agent.triggers.hooks.desk import Desk
from agent.triggers.hooks.secrets import SecretBook
from agent.web.server import HttpServer
from tests.fakes.control import FakeControl, a_project

SECRET = "correct-horse"
PROJECTS = 10


def desk_in(directory: Path) -> Desk:
    """Return a desk that stores in *directory*."""
    clock, database = SystemClock(), Database(directory / "agent.db")
    projects = {
        f"p{number}": Project(
            name=f"p{number}",
            source=Source(type="GITHUB", location=f"https://github.com/octo/p{number}"),
            environment=Environment(image="i"),
            webhook=Webhook(secret="env:S"),
        )
        for number in range(PROJECTS)
    }
    intake = Intake(
        database, Recorder(database, clock), projects.get, lambda: Identity("eu-west-1", "123456789012"), clock
    )
    book = SecretBook(lambda _: Secret(SECRET), clock)
    return Desk(projects.values, intake.submit, Hooks(database), book, clock)


def serve(directory: Path, stop: StopToken) -> HttpServer:
    """Start serving from *directory*; return the server, which has its port once it listens."""
    desk = desk_in(directory)
    control = FakeControl(directory / "logs", [a_project()])
    server = HttpServer(control, "127.0.0.1", 0, lambda name, headers, body: desk.receive("github", headers, body))
    threading.Thread(target=server.run, args=(stop,), daemon=True).start()
    while server.port is None:
        stop.wait(0.005)
    return server


if __name__ == "__main__":
    configure(level="error", format="json")
    place, forever = Path(sys.argv[1]), StopToken()
    write_atomic(place / "port", str(serve(place, forever).port).encode())
    forever.wait()
