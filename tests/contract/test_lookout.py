"""Looking out of a real container: the three ways see the same, and each names the hop that fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.container.lookout import DockerLookout, Survey, from_host, surveyed
from agent.kit.dial import Answer, Hop
from agent.pipeline.preflight import described, hint
from tests import images

pytestmark = pytest.mark.docker
LISTEN = "while :; do nc -ll -p 5432 -e /bin/sh -c 'read x'; done"


@dataclass(frozen=True)
class Net:
    """A network of Docker's on which `name` is a container that listens on port 5432 and never answers."""

    network: str
    name: str

    def run(self, image: str, network: str = "") -> str:
        """Start a container that waits; return its id."""
        return images.docker(
            "run", "-d", "--rm", "--label", self.network, "--network", network or self.network, image, "sleep", "600"
        )


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    image = images.busybox_image()
    one = Net(f"lookout-{uuid.uuid4().hex[:10]}", f"db-{uuid.uuid4().hex[:6]}")
    images.docker("network", "create", one.network)
    try:
        images.docker(
            *("run", "-d", "--rm", "--label", one.network, "--network", one.network, "--name", one.name),
            *(image, "sh", "-c", LISTEN),
        )
        images.docker("exec", one.name, "sh", "-c", "until nc 127.0.0.1 5432 -e /bin/sh -c :; do :; done")
        yield one
    finally:
        left = images.docker("ps", "-aq", "--filter", f"label={one.network}").split()
        if left:
            images.docker("rm", "-f", *left)
        images.docker("network", "rm", one.network)


def judged(net: Net, survey: Survey) -> dict[str, Hop | None]:
    return {answer.target.replace(net.name, "db"): answer.hop for answer in survey.answers}


def targets(net: Net) -> list[str]:
    return [f"{net.name}:5432", f"{net.name}:5433", "gone.invalid:5432", "[fd00:77::1]:80"]


EXPECTED = {"db:5432": None, "db:5433": Hop.REFUSED, "gone.invalid:5432": Hop.NAME, "[fd00:77::1]:80": Hop.ROUTE}


@pytest.mark.parametrize("enters", [True, False], ids=["namespace", "script"])
@pytest.mark.parametrize("image", [images.busybox_image, images.debian_image], ids=["nc", "python"])
def test_a_name_that_only_the_network_of_the_build_knows_is_reached_from_it(
    net: Net, enters: bool, image: object
) -> None:
    assert callable(image)
    survey = DockerLookout(enters=enters).from_container(net.run(image()), targets(net), 30)
    assert judged(net, survey) == EXPECTED, survey
    assert (survey.servers, survey.remark) == ("127.0.0.11", "")


def test_the_host_does_not_know_that_name(net: Net) -> None:
    survey = from_host([f"{net.name}:5432"], 30)
    assert judged(net, survey) == {"db:5432": Hop.NAME}, survey


def test_without_a_network_nothing_is_reached(net: Net) -> None:
    container = net.run(images.busybox_image(), "none")
    for enters in (True, False):
        survey = DockerLookout(enters=enters).from_container(container, ["192.0.2.1:80"], 30)
        assert [answer.hop for answer in survey.answers] == [Hop.ROUTE], survey


def test_bash_alone_is_enough_to_look_with(net: Net) -> None:
    container = net.run(images.debian_image())
    images.docker("exec", "-u", "0", container, "sh", "-c", "rm -f /usr/bin/python3*")
    survey = DockerLookout(enters=False).from_container(container, targets(net), 30)
    assert judged(net, survey) == EXPECTED, survey
    assert survey.answers[0].seconds is not None


def test_an_image_with_nothing_to_look_with_is_said_and_looked_for_from_the_host(net: Net) -> None:
    container = net.run(images.debian_image())
    images.docker("exec", "-u", "0", container, "sh", "-c", "rm -f /usr/bin/python3* /bin/bash")
    survey = DockerLookout(enters=False).from_container(container, ["127.0.0.1:1"], 30)
    assert "neither python3 nor bash nor nc" in survey.remark
    assert survey.answers[0].hop is Hop.REFUSED


def test_only_the_network_of_the_host_is_shared_with_builds() -> None:
    assert DockerLookout("unix:///var/run/docker.sock").shares("host")
    assert not DockerLookout("unix:///var/run/docker.sock").shares("bridge")
    assert not DockerLookout("tcp://elsewhere:2376").shares("host")


def test_what_a_hostile_image_prints_is_an_answer_at_most() -> None:
    told = "servers\t10.0.0.2\na:1\tok\t10.0.0.9\tnan-sense\t\nb:1\twhat\t\t\t" + "x" * 9000 + "\nc:1\tok\n\t\t\t\t\n"
    survey = surveyed(["a:1", "b:1", "c:1"], told, 5)
    assert survey is not None
    assert survey.servers == "10.0.0.2"
    assert survey.answers[0] == Answer("a:1", "10.0.0.9")
    assert (survey.answers[1].hop, len(survey.answers[1].said)) == (Hop.OTHER, 500)
    assert survey.answers[2].hop is Hop.SILENCE
    assert surveyed(["a:1"], "servers\t\nnone\n", 5) is None


@pytest.mark.parametrize("word", [" ", "1.1.1.1;reboot", "$(reboot)", "fe80::1%$(reboot)", "\x1b[2J"])
def test_what_a_hostile_image_prints_becomes_no_part_of_a_command_that_is_recommended(word: str) -> None:
    told = f"servers\t{word}\nb:1\tname\t{word}\tinf\tno \x1b[2J{word}\nc:1\troute\t{word}\t\t\nd:1\tok\t\tinf\t\n"
    survey = surveyed(["b:1", "c:1", "d:1"], told, 5)
    assert survey is not None
    for answer in survey.answers[:2]:
        advice = hint(answer, survey.servers, "bridge")
        assert "reboot" not in advice, advice
        assert advice.isprintable(), advice
        assert described(answer).isprintable()
    assert described(survey.answers[2]) == "d:1 answers"
