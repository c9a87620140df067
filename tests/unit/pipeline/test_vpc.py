"""vpcConfig against where the host stands: every difference is named, and what follows is the project's to say."""

from __future__ import annotations

import pytest

from agent.errors import Unavailable
from agent.model.place import HostPlace, Interface
from agent.model.project import VpcConfig
from agent.pipeline.vpc import is_empty, mismatch, remedy, settled

HERE = Interface("eni-1", "vpc-1", "subnet-a", frozenset({"sg-1", "sg-2"}))
OTHER = Interface("eni-2", "vpc-1", "subnet-b", frozenset({"sg-3"}))
HOST = HostPlace("i-1", (HERE, OTHER))
FITS = VpcConfig(vpc_id="vpc-1", subnets=("subnet-x", "subnet-a"), security_group_ids=("sg-2",))


def said(**wanted: object) -> str:
    return mismatch(HOST, HOST.standing_in(FITS.evolve(**wanted))[1])


def test_a_host_in_one_of_the_subnets_with_more_groups_than_wanted_fits() -> None:
    assert HOST.standing_in(FITS) == (HERE, ())


def test_another_interface_of_the_host_may_be_the_one() -> None:
    assert HOST.standing_in(VpcConfig(subnets=("subnet-b",), security_group_ids=("sg-3",))) == (OTHER, ())


def test_each_difference_is_named_with_what_was_wanted_and_found() -> None:
    assert "this host (i-1)" in said(vpc_id="vpc-9")
    assert "vpcId: wanted vpc-9, found vpc-1" in said(vpc_id="vpc-9")
    assert "subnets: wanted subnet-x or subnet-y, found subnet-a" in said(subnets=("subnet-x", "subnet-y"))
    assert "securityGroupIds: wanted sg-2, sg-8, found sg-1, sg-2: sg-8 is missing" in said(
        security_group_ids=("sg-2", "sg-8")
    )
    both = said(vpc_id="vpc-9", security_group_ids=("sg-8", "sg-9"))
    assert "found vpc-1; securityGroupIds" in both
    assert "sg-8, sg-9 are missing" in both


def test_groups_that_are_missing_are_attached_by_the_command_that_is_told() -> None:
    wanted = FITS.evolve(security_group_ids=("sg-8",))
    told = remedy(HOST, wanted, HOST.standing_in(wanted)[1])
    assert "--network-interface-id eni-1 --groups sg-1 sg-2 sg-8" in told
    elsewhere = FITS.evolve(vpc_id="vpc-9")
    assert "run the project on a host of that VPC" in remedy(HOST, elsewhere, HOST.standing_in(elsewhere)[1])


def test_a_host_without_an_interface_in_a_vpc_fits_nothing() -> None:
    assert HostPlace("i-1", ()).standing_in(FITS) == (None, ("the host has no interface in a VPC",))


def test_a_config_that_says_nothing_is_none() -> None:
    assert is_empty(VpcConfig())
    assert not is_empty(VpcConfig(subnets=("subnet-a",)))


def test_a_bad_answer_is_asked_for_again_where_it_would_fail_a_build() -> None:
    asked: list[float] = []

    def locate(at_most_old: float) -> HostPlace:
        asked.append(at_most_old)
        return HostPlace("i-1", (OTHER,) if at_most_old > 60 else (HERE,))

    assert settled(locate, FITS, strict=True).interfaces == (HERE,)
    assert asked == [300, 5]

    def absent(at_most_old: float) -> HostPlace:
        asked.append(at_most_old)
        raise Unavailable("nobody")

    asked.clear()
    for strict in (False, True):
        with pytest.raises(Unavailable):
            settled(absent, FITS, strict=strict)
    assert asked == [300, 300, 5]
