"""Submodules at hosts that nobody outside reaches."""

from __future__ import annotations

import pytest

from agent.errors import SourceRefused
from agent.source.credentials import Remote
from agent.source.inside import Reach, reach_of
from agent.source.url import parse

PUBLIC = Remote(parse("https://8.8.8.8/team/app.git")[0])


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:8080/x", "http://localhost/x", "https://[::1]/x",
     "http://2130706433/x", "http://0x7f.1/x", "http://0.0.0.0/x", "https://[::ffff:127.0.0.1]/x", "git@127.0.0.1:x",
     "http://[fd00:ec2::254]/latest", "git://localhost/x"],
)  # fmt: skip
@pytest.mark.parametrize("parent", ["https://8.8.8.8/team/app.git", "https://10.1.2.3/team/app.git", "/srv/app.git"])
def test_no_submodule_leads_to_this_machine_or_its_metadata_service(address: str, parent: str) -> None:
    with pytest.raises(SourceRefused, match=r"internal host \(this machine or its metadata service") as caught:
        Remote(parse(parent)[0]).related(address)
    assert "git submodule update" in caught.value.hint


@pytest.mark.parametrize("address", ["https://10.0.0.7/x", "ssh://git@192.168.1.1/x", "https://[fd12::1]/x",
                                     "http://100.64.0.1/x"])  # fmt: skip
def test_a_submodule_in_a_private_network_needs_a_parent_in_one(address: str) -> None:
    with pytest.raises(SourceRefused, match=r"internal host \(a private network"):
        PUBLIC.related(address)
    for parent in ("https://172.16.5.5/app.git", "https://127.0.0.1/app.git", "/srv/app.git"):
        assert Remote(parse(parent)[0]).related(address).url.text == address


def test_the_host_of_the_parent_and_public_ones_are_taken() -> None:
    assert PUBLIC.related("https://1.1.1.1/x").url.host == "1.1.1.1"
    assert PUBLIC.related("https://no-such-host.invalid/x").url.host == "no-such-host.invalid", "git says what is wrong"
    for parent in ("http://127.0.0.1:1/app.git", "https://10.0.0.7/app.git"):
        assert Remote(parse(parent)[0]).related("../lib.git").url.text == parent.replace("app", "lib")
    assert Remote(parse("http://127.0.0.1:1/app.git")[0]).related("http://127.0.0.1:2/lib.git").url.port == 2


@pytest.mark.parametrize("address", ["ext::sh -c id", "fd::17", "ssh://-oProxyCommand=id/x", "-oProxyCommand=id:x",
                                     "git@-oProxyCommand:x", "ssh://h;id/x", "gopher://h/x"])  # fmt: skip
def test_a_submodule_by_another_transport_or_with_words_for_ssh_is_refused(address: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        PUBLIC.related(address)
    assert "https://" in caught.value.hint


def test_an_address_tells_from_where_it_is_reached() -> None:
    assert [reach_of(host) for host in ("8.8.8.8", "10.0.0.1", "127.0.0.9", "2606:4700::1", "x" * 70 + ".example")] == [
        Reach.EVERYWHERE, Reach.NETWORK, Reach.MACHINE, Reach.EVERYWHERE, Reach.EVERYWHERE
    ]  # fmt: skip
