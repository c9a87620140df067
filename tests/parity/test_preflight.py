"""Before the first command: the VPC that the project expects, and what the build says it needs, in whole builds."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.container.lookout import DockerLookout
from agent.errors import Unavailable
from agent.model.cause import Cause
from agent.model.place import HostPlace, Interface
from agent.model.project import AgentOptions, VpcConfig
from agent.web.shapes import build_json
from tests import images
from tests.parity.site import Site, spec

pytestmark = pytest.mark.docker

WANTED = VpcConfig(vpc_id="vpc-1", subnets=("subnet-a",), security_group_ids=("sg-1",))
HERE = HostPlace("i-1", (Interface("eni-1", "vpc-1", "subnet-a", frozenset({"sg-1"})),))
ELSEWHERE = HostPlace("i-1", (Interface("eni-2", "vpc-2", "subnet-b", frozenset({"sg-1"})),))
ECHO = spec(build=["echo begun"])


@pytest.fixture
def database() -> Iterator[tuple[str, str]]:
    """A network of Docker's, and the name of a database on it that accepts connections and says nothing."""
    network, name = f"preflight-{uuid.uuid4().hex[:10]}", f"db-{uuid.uuid4().hex[:6]}"
    images.docker("network", "create", network)
    try:
        listen = "while :; do nc -ll -p 5432 -e /bin/sh -c 'read x'; done"
        images.docker(
            "run", "-d", "--rm", "--network", network, "--name", name, images.busybox_image(), "sh", "-c", listen
        )
        images.docker("exec", name, "sh", "-c", "until nc 127.0.0.1 5432 -e /bin/sh -c :; do :; done")
        yield network, name
    finally:
        images.docker("rm", "-f", name)
        images.docker("network", "rm", network)


def stand(site: Site, place: HostPlace | None) -> None:
    """Have the host stand at *place*; None: nobody can say where."""

    def locate(at_most_old: float) -> HostPlace:
        if place is None:
            raise Unavailable(f"no metadata service, not {at_most_old:g} s ago", hint="switch it on")
        return place

    site.workshop.tools = replace(site.workshop.tools, locate=locate)


def test_a_database_that_only_the_network_of_the_build_knows_is_reached_from_there(
    site: Site, database: tuple[str, str]
) -> None:
    network, name = database
    options = AgentOptions(network=network, preflight=(f"{name}:5432",))
    for enters in (True, False):
        site.workshop.tools = replace(site.workshop.tools, lookout=DockerLookout(enters=enters))
        ended = site.build(ECHO, agent=options)
        assert ended.status == "SUCCEEDED", ended.log
        (line,) = [line for line in ended.lines if line.startswith("preflight: ")]
        assert line.startswith(f"preflight: {name}:5432"), line
        assert " answers" in line
        assert ended.output == ["begun"]
        assert ended.lines.index(line) < ended.lines.index("Entering phase INSTALL"), "before the first command"
    wanted = options.evolve(preflight=(f"{name}:5432", f"{name}:5433", "gone.invalid:1"))
    late = site.build(ECHO, agent=wanted)
    assert late.context("DOWNLOAD_SOURCE")[0] == "PREFLIGHT_FAILED", "the script runs beside the fetching of sources"
    assert (late.build.cause, late.output) == (Cause.PREFLIGHT_REFUSED, [])
    site.workshop.tools = replace(site.workshop.tools, lookout=DockerLookout())
    refused = site.build(ECHO, agent=wanted)
    code, message = refused.context("PROVISIONING")
    assert (code, refused.build.cause) == ("PREFLIGHT_FAILED", Cause.PREFLIGHT_REFUSED)
    assert f"{name}:5433" in message
    assert "the connection is refused" in message
    assert "gone.invalid:1: the name does not resolve" in message
    assert "nothing listens on port 5433 there" in str(refused.build.advice)
    assert f"Docker network {network}" in str(refused.build.advice)
    assert "begun" not in refused.output


def test_on_the_network_of_the_host_it_is_connected_to_from_there_before_the_image_is_had(site: Site) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        ended = site.build(ECHO, agent=AgentOptions(preflight=(target,)))
        assert ended.status == "SUCCEEDED", ended.log
        assert any(line.startswith(f"preflight: {target} answers in ") for line in ended.lines), ended.lines
    refused = site.build(ECHO, image="no-such-image", agent=AgentOptions(preflight=(target, "db.invalid:5432")))
    assert refused.bad_phases == {"PROVISIONING": "FAILED"}
    assert "Connection refused" in refused.context("PROVISIONING")[1]


def test_a_build_whose_host_stands_in_its_vpc_records_the_interface(site: Site) -> None:
    stand(site, HERE)
    ended = site.build(ECHO, vpc_config=WANTED, agent=AgentOptions(network="none", vpc="require"))
    assert ended.status == "SUCCEEDED", ended.log
    assert "vpcConfig: this host (i-1) stands in vpc-1, as it should" in ended.lines
    assert build_json(ended.build)["networkInterface"] == {"subnetId": "subnet-a", "networkInterfaceId": "eni-1"}


def test_a_build_whose_host_stands_elsewhere_fails_is_warned_or_not_as_its_project_says(site: Site) -> None:
    stand(site, ELSEWHERE)
    failed = site.build(ECHO, vpc_config=WANTED, agent=AgentOptions(network="none", vpc="require"))
    code, message = failed.context("PROVISIONING")
    assert (code, failed.build.cause, failed.status) == ("VPC_CLIENT_ERROR", Cause.VPC_MISMATCH, "FAILED")
    assert "vpcId: wanted vpc-1, found vpc-2; subnets: wanted subnet-a, found subnet-b" in message
    assert not any("trying again" in line for line in failed.lines)
    warned = site.build(ECHO, vpc_config=WANTED)
    assert warned.status == "SUCCEEDED"
    assert [line for line in warned.lines if line.startswith("warning: vpcConfig")], warned.lines
    silent = site.build(ECHO, vpc_config=WANTED, agent=AgentOptions(network="none", vpc="ignore"))
    assert (silent.status, "vpcConfig" in silent.log) == ("SUCCEEDED", False)


def test_where_nobody_can_say_where_the_host_stands_each_policy_says_so(site: Site) -> None:
    stand(site, None)
    failed = site.build(ECHO, vpc_config=WANTED, agent=AgentOptions(network="none", vpc="require"))
    code, message = failed.context("PROVISIONING")
    assert (code, failed.build.advice) == ("VPC_CLIENT_ERROR", "switch it on")
    assert "vpcConfig cannot be checked: no metadata service" in message
    warned = site.build(ECHO, vpc_config=WANTED)
    assert any("warning: vpcConfig cannot be checked" in line for line in warned.lines), warned.lines
    assert warned.status == "SUCCEEDED"
