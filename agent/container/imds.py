"""Imds: rules of the host's firewall that keep builds from its metadata service, and a test that they do.

A build in the host's network reaches the metadata service as any process of the host does, and with it the credentials
of the host's role (service.md 10.4). Its container lies in one cgroup with those of all other builds, and a rule in
OUTPUT rejects what comes from there; what comes from other networks is rejected where it is forwarded.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.errors import BuildspecdError
from agent.kit.clock import Clock
from agent.kit.files import write_atomic

ADDRESSES = {"iptables": "169.254.169.254", "ip6tables": "fd00:ec2::254"}
PARENTS = {"systemd": "buildspecd.slice", "cgroupfs": "buildspecd"}
"""The cgroup of all builds, by the engine's cgroup driver, below the root of version 2."""
CHAIN, FORWARDED = "BUILDSPECD-IMDS", "BUILDSPECD-IMDS-FWD"
STATE = Path("/run/buildspecd-guard/state.json")
FRESH_SECONDS = 180.0
"""How old the word of the guard may be; it gives it every minute."""
_DOCKERS = "DOCKER-USER"
_REJECT = {"iptables": "icmp-admin-prohibited", "ip6tables": "icmp6-adm-prohibited"}
_PATIENCE_SECONDS = 30.0
_CONNECT_SECONDS = 2.0
_REACHED = "reached"
_PROBE = f"""
import socket, sys
with open(sys.argv[1], "w") as procs:
    procs.write("0")
try:
    socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout={_CONNECT_SECONDS}).close()
    print("{_REACHED}")
except OSError as error:
    print(error)
"""


class RulesRefused(BuildspecdError):
    """The firewall of this host does not take our rules."""


@dataclass(frozen=True)
class Verdict:
    """Whether builds are kept from the metadata service; `problem` says why not. `at` in seconds since 1970."""

    holds: bool
    problem: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Guard:
    """The rules on this host, or in the network that *prefix* (`nsenter --net=...`) leads to. Needs CAP_NET_ADMIN."""

    clock: Clock
    root: Path | None
    """Where cgroups of version 2 are mounted."""
    parents: tuple[str, ...] = tuple(PARENTS.values())
    prefix: tuple[str, ...] = ()
    port: int = 80

    def hold(self) -> Verdict:
        """Put the rules in place, whatever became of them, and try whether they hold. Raises nothing of ours."""
        try:
            self._assert_rules()
            problem = self.reached()
        except BuildspecdError as error:
            problem = f"{error.message} ({error.hint})" if error.hint else error.message
        return Verdict(not problem, problem, self.clock.now())

    def reached(self) -> str:
        """Have a process in a throw-away cgroup of the builds' connect; return what is wrong, or nothing."""
        for address in ADDRESSES.values():
            for parent in self.parents:
                with self._throw_away(parent) as cgroup:
                    words = [
                        sys.executable,
                        "-I",
                        "-S",
                        "-c",
                        _PROBE,
                        f"{cgroup}/cgroup.procs",
                        address,
                        str(self.port),
                    ]
                    said = self._run(words).stdout.strip()
                if said == _REACHED:
                    return f"a process in cgroup {parent} reaches {address}"
        return ""

    def remove(self) -> None:
        """Take the rules away."""
        for tool in ADDRESSES:
            for chain, target in (("OUTPUT", CHAIN), (_DOCKERS, FORWARDED), ("FORWARD", FORWARDED)):
                while self._run([tool, "-w", "10", "-D", chain, "-j", target]).returncode == 0:
                    pass
            for chain in (CHAIN, FORWARDED):
                for action in ("-F", "-X"):
                    self._run([tool, "-w", "10", action, chain])

    def _assert_rules(self) -> None:
        if self.root is None:
            raise RulesRefused(
                "no cgroups of version 2 are mounted, by which the rules tell builds from the host",
                hint="boot with systemd.unified_cgroup_hierarchy=1",
            )
        for parent in self.parents:
            with suppress(OSError):  # the rule says so, if it is not there
                (self.root / parent).mkdir(exist_ok=True)
        for tool, address in ADDRESSES.items():
            # A rule means the cgroup that had the name when it was made: each time they are made anew, all at once.
            done = self._run([f"{tool}-restore", "--noflush", "-w", "10"], self._rules(tool, address))
            if done.returncode != 0:
                if tool == "ip6tables" and not self._speaks_ipv6():
                    continue
                raise RulesRefused(f"{tool}-restore: {(done.stderr or done.stdout).strip()}")
            self._jump(tool, "OUTPUT", CHAIN)
            dockers = self._run([tool, "-w", "10", "-S", _DOCKERS]).returncode == 0
            self._jump(tool, _DOCKERS if dockers else "FORWARD", FORWARDED)

    def _rules(self, tool: str, address: str) -> str:
        reject = f"-j REJECT --reject-with {_REJECT[tool]}"
        own = [f"-A {CHAIN} -d {address} -m cgroup --path {parent} {reject}" for parent in self.parents]
        lines = ["*filter", f":{CHAIN} - [0:0]", f":{FORWARDED} - [0:0]", *own]
        return "\n".join([*lines, f"-A {FORWARDED} -d {address} {reject}", "COMMIT", ""])

    def _jump(self, tool: str, chain: str, target: str) -> None:
        """Have *chain* go to *target* before anything else, and once."""
        listed = self._run([tool, "-w", "10", "-S", chain]).stdout.splitlines()
        rules = [line for line in listed if line.startswith("-A ")]
        jump = f"-A {chain} -j {target}"
        if rules and rules[0] == jump and rules.count(jump) == 1:
            return
        done = self._run([tool, "-w", "10", "-I", chain, "1", "-j", target])
        if done.returncode != 0:
            raise RulesRefused(f"{tool} -I {chain}: {(done.stderr or done.stdout).strip()}")
        for place in [place for place, line in enumerate(rules, 2) if line == jump][::-1]:
            self._run([tool, "-w", "10", "-D", chain, str(place)])

    def _speaks_ipv6(self) -> bool:
        return bool(self._run(["cat", "/proc/net/if_inet6"]).stdout.strip())

    @contextmanager
    def _throw_away(self, parent: str) -> Iterator[Path]:
        if self.root is None:
            raise RulesRefused("no cgroups of version 2 are mounted")
        place = self.root / parent / f"imds-test-{uuid.uuid4().hex[:12]}"
        try:
            place.mkdir(parents=True)
        except OSError as error:
            raise RulesRefused(f"no cgroup can be made in {self.root / parent}: {error.strerror}") from error
        try:
            yield place
        finally:
            with suppress(OSError):
                place.rmdir()

    def _run(self, words: Sequence[str], said: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self.prefix, *words],
                input=said,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise RulesRefused(f"{error.filename} is not installed", hint="sudo apt-get install iptables") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RulesRefused(f"{words[0]}: {error}") from error


def on_ec2(vendor: Path = Path("/sys/devices/virtual/dmi/id/sys_vendor")) -> bool:
    """Whether this host is an instance of EC2, where a metadata service is to be expected."""
    try:
        return vendor.read_text(errors="replace").strip() == "Amazon EC2"
    except OSError:
        return False


def root_of_cgroups(mounts: Path = Path("/proc/mounts")) -> Path | None:
    """Return where cgroups of version 2 are mounted, None where they are not."""
    found = (line.split() for line in mounts.read_text().splitlines())
    return next((Path(words[1]) for words in found if len(words) > 2 and words[2] == "cgroup2"), None)


def parent_of(driver: str) -> str:
    """Return the cgroup parent of builds as the engine wants to be told. Pure."""
    return PARENTS["systemd"] if driver == "systemd" else f"/{PARENTS['cgroupfs']}"


def lies_in_its_cgroup(container: str, root: Path | None) -> bool:
    """Whether a running container is where the rules look for builds."""
    if root is None:
        return False
    places = (root / PARENTS["cgroupfs"] / container, root / PARENTS["systemd"] / f"docker-{container}.scope")
    return any(place.is_dir() for place in places)


def publish(verdict: Verdict, file: Path = STATE) -> None:
    """Let everybody on this host know. Raises `OSError`."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(verdict)).encode(), mode=0o644, sync=False)


def published(now: float, file: Path = STATE) -> Verdict:
    """Return the last word of the guard; one that is too old, or none, does not hold."""
    try:
        document = json.loads(file.read_bytes())
        verdict = Verdict(bool(document["holds"]), str(document["problem"]), float(document["at"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Verdict(False, "no guard runs on this host")
    if abs(now - verdict.at) > FRESH_SECONDS:
        return Verdict(False, "the guard of this host does not run any more", verdict.at)
    return verdict
