"""What doctor says of the machine: cgroups, disk, clock, network, unit and place, good and bad."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container import lookout
from agent.container.lookout import Survey
from agent.daemon.checks import cgroups, clock, disk, network, preflight, unit
from agent.daemon.checks import vpc as place_check
from agent.daemon.checks.check import Check
from agent.daemon.whereabouts import Whereabouts
from agent.errors import Unavailable
from agent.kit.clock import SystemClock
from agent.kit.dial import Answer, Hop
from agent.model.place import HostPlace, Interface
from agent.model.project import AgentOptions, Environment, Project, Source, VpcConfig
from agent.pipeline.surroundings import HostLookout
from tests.fakes.engine import FakeEngine

TABLE = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t{}\npids\t3\t1\t1\n"


def only(found: Iterator[Check]) -> Check:
    (check,) = found
    return check


def test_a_host_that_cannot_hold_builds_to_their_memory_is_told_how_to(tmp_path: Path) -> None:
    table = tmp_path / "cgroups"
    table.write_text(TABLE.format(0))
    check = only(cgroups.cgroups(tmp_path, table))
    assert (check.status, "without memory" in check.message) == ("fail", True)
    assert "cgroup_enable=memory" in check.remedy
    table.write_text(TABLE.format(1))
    check = only(cgroups.cgroups(tmp_path, table))
    assert (check.status, "swapaccount=1" in check.remedy) == ("warn", True)
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.memsw.limit_in_bytes").touch()
    assert only(cgroups.cgroups(tmp_path, table)).status == "ok"
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "system.slice").mkdir()
    (tmp_path / "system.slice" / "memory.swap.max").touch()
    assert only(cgroups.cgroups(tmp_path, table)).message.startswith("version 2 with")
    assert only(cgroups.cgroups(tmp_path / "none", tmp_path / "none")).status == "skipped"


def test_the_disk_is_measured_without_leaving_a_file_and_judged_by_the_reserve(tmp_path: Path) -> None:
    state = tmp_path / "not" / "yet"
    assert only(disk.state_directory(state)).status == "ok"
    assert "a write is safe after" in only(disk.speed(state)).message
    assert list(tmp_path.iterdir()) == []
    assert only(disk.room(state, "0")).status == "ok"
    assert "disk.reserve keeps" in only(disk.room(state, "1000000TiB")).message
    (tmp_path / "file").touch()
    assert only(disk.state_directory(tmp_path / "file")).status == "fail"


@pytest.mark.parametrize(("offset", "status"), [(0.4, "ok"), (-25, "ok"), (45, "warn"), (-290, "fail"), (4000, "fail")])
def test_a_clock_is_judged_by_how_far_it_is_off(offset: float, status: str) -> None:
    assert clock.judged(offset, "https://sts").status == status


def test_the_time_is_taken_from_any_answer_and_silence_is_said() -> None:
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        check = only(clock.clock(f"http://127.0.0.1:{server.server_port}", SystemClock()))
        assert check.status == "ok", check
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(Unavailable) as caught:
        list(clock.clock(f"http://127.0.0.1:{server.server_port}", SystemClock()))
    assert "Connection refused" in caught.value.message


def test_a_default_route_is_found_in_either_table(tmp_path: Path) -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    rows = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\neth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    six = (
        f"{'0' * 32} 00 {'0' * 32} 00 {'fe80'.ljust(32, '0')} 0 0 0 0 ens5\n{'0' * 32} 00 {'0' * 32} 00 x 0 0 0 0 lo\n"
    )
    assert network.default_routes(head + rows, six) == ["eth0", "ens5"]
    assert network.default_routes(head, "") == []
    assert only(network.route(tmp_path / "none")).status == "skipped"
    (tmp_path / "route").write_text(head)
    assert only(network.route(tmp_path / "route", tmp_path / "none")).status == "warn"


def test_endpoints_are_connected_to_with_the_time_that_takes() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)
        port = listener.getsockname()[1]
        check = only(network.reached("connect", [f"http://127.0.0.1:{port}/x", f"http://127.0.0.1:{port}/y"]))
        assert (check.status, " answers in " in check.message) == ("ok", True)
    check = only(network.reached("connect", [f"https://127.0.0.1:{port}"]))
    assert (check.status, "refused" in check.message) == ("fail", True)
    assert network.target_of("https://[::1]/x") == "[::1]:443"
    assert network.proxies({"HTTPS_PROXY": "http://p:3128"}) == "http://p:3128"
    assert network.proxies({}) is None


GOOD = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "FragmentPath": "/etc/u.service"}


@pytest.mark.parametrize(
    ("facts", "same", "renewed", "word"),
    [
        ({"LoadState": "not-found"}, None, False, "systemctl enable --now buildspecd"),
        (GOOD, False, False, "diff /etc/u.service /shipped"),
        ({**GOOD, "NeedDaemonReload": "yes"}, True, False, "daemon-reload"),
        ({**GOOD, "UnitFileState": "disabled"}, True, False, "systemctl enable buildspecd"),
        ({**GOOD, "ActiveState": "failed"}, True, False, "journalctl -u buildspecd"),
        (GOOD, True, True, "systemctl restart buildspecd"),
    ],
)
def test_what_is_wrong_with_the_unit_comes_with_its_command(
    facts: dict[str, str], same: bool | None, renewed: bool, word: str
) -> None:
    check = unit.judged(facts, Path("/shipped"), same, renewed)
    assert check.status == "warn"
    assert word in check.remedy


def test_a_unit_as_shipped_is_fine_and_without_systemd_there_is_none(tmp_path: Path) -> None:
    assert unit.judged(GOOD, None, True, False).status == "ok"
    assert only(unit.unit(tmp_path / "none")).status == "skipped"
    assert unit.shipped() is not None


def project(**given: object) -> Project:
    base = Project(name="web", source=Source(type="NO_SOURCE"), environment=Environment(image="debian"))
    return base.evolve(**given)


def test_a_host_with_no_metadata_service_is_said_and_fails_only_who_requires_it() -> None:
    where = Whereabouts(None, SystemClock())
    wanted = VpcConfig(vpc_id="vpc-1")
    projects = [
        project(),
        project(vpc_config=wanted),
        project(vpc_config=wanted, agent=AgentOptions(vpc="require")),
        project(vpc_config=wanted, agent=AgentOptions(vpc="ignore")),
    ]
    checks = list(place_check.vpc(where, projects, "warn"))
    assert [check.status for check in checks] == ["skipped", "warn", "fail", "skipped"]
    assert "switched off" in checks[0].message
    assert "--http-endpoint enabled" in checks[2].remedy


def test_a_host_that_stands_elsewhere_is_judged_by_each_project() -> None:
    place = HostPlace("i-1", (Interface("eni-1", "vpc-2", "subnet-b"),))
    wanted = VpcConfig(vpc_id="vpc-1")
    assert place_check.judged(place, project(vpc_config=wanted), "warn").status == "warn"
    check = place_check.judged(place, project(vpc_config=wanted), "require")
    assert (check.status, "wanted vpc-1, found vpc-2" in check.message) == ("fail", True)
    assert place_check.judged(place, project(vpc_config=VpcConfig(vpc_id="vpc-2")), "require").status == "ok"


class Outlook(HostLookout):
    """Shares nothing, and sees that nobody answers."""

    def shares(self, network: str) -> bool:
        return not network

    def from_container(self, container: str, targets: object) -> Survey:
        assert container
        return Survey((Answer("db:5432", "10.0.0.5", hop=Hop.SILENCE, said="nothing comes back"),), "10.0.0.2")


def test_preflight_is_looked_at_from_a_throw_away_container_of_the_projects_network() -> None:
    engine = FakeEngine()
    engine.networks = {"private"}
    wanted = project(agent=AgentOptions(network="private", preflight=("db:5432",)))
    absent = list(preflight.preflight(wanted, engine, Outlook(), lambda name: name, "agent"))
    assert "its image debian is not on the host yet" in absent[0].message
    engine.images.add("debian")
    check = only(preflight.preflight(wanted, engine, Outlook(), lambda name: name, "agent"))
    assert (check.status, check.name) == ("fail", "preflight of web")
    assert "security group of db" in check.remedy
    assert "Docker network private" in check.remedy
    assert engine.owned("agent") == {}, "nothing is left"
    assert list(preflight.preflight(project(), engine, Outlook(), lambda name: name, "agent")) == []


def test_a_name_that_hangs_in_the_library_ends_with_the_others() -> None:
    never = threading.Event()

    def resolve(name: str, _: float) -> list[str]:
        never.wait()
        return [name]

    try:
        (answer,) = lookout.all_at_once(["db:1"], resolve, socket.socket, 0.1)
    finally:
        never.set()
    assert (answer.hop, answer.said) == (Hop.NAME, "no answer within 0.1 s")
