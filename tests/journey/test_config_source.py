"""A daemon that follows its own configuration in a git repository, killed and misled on the way."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.fakes.repository import Repository, git
from tests.journey.daemon import Daemon, Json
from tests.journey.waiting import until


def project(name: str) -> str:
    document = {
        "name": name,
        "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\n"},
        "environment": {"image": "debian:12"},
    }
    return json.dumps(document)


def standing(daemon: Daemon) -> Json:
    found: Any = daemon.client.call("State")["config"]
    return {"projects": sorted(one["name"] for one in daemon.client.call("GetProjects")["projects"]), **found}


def test_the_configuration_follows_its_repository_through_mistakes_and_kills(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "server")
    first = repository.commit("first", **{"projects.d__web.json": project("web")})
    daemon = Daemon(tmp_path / "host", settings={"config_source": {"url": repository.url}})
    with daemon:
        until(lambda: standing(daemon)["revision"] == first, "the first revision")
        assert standing(daemon)["projects"] == ["web"]

        bad = repository.commit("bad", **{"projects.d__shop.json": project("shop"), "agent.yml": "poll: {evry: 1s}\n"})
        until(lambda: standing(daemon)["refused"] == bad, "the refusal")
        assert standing(daemon)["problems"] == ["agent.yml:1:8: unknown key poll.evry; did you mean 'every'?"]
        assert standing(daemon)["projects"] == ["web"]
        said = daemon.cli("projects", "list").stderr.decode()
        assert f"configuration: revision {first[:12]} holds" in said
        assert "agent.yml:1:8: unknown key poll.evry" in said
        printed = json.loads(daemon.cli("projects", "list", "--json").stdout)
        assert printed["configSource"]["refused"] == bad

        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait(10)
        git(repository.work, "rm", "-q", "agent.yml", "projects.d/web.json")
        good = repository.commit("mended", **{"projects.d__new.json": project("new")})
        daemon.start()
        until(lambda: standing(daemon)["revision"] == good, "the mended revision")
        assert standing(daemon)["projects"] == ["new", "shop"]
        assert standing(daemon)["refused"] == ""
