"""The main job, shown: a push becomes a build, a second push finds its cache. No AWS account needed."""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PLACE = ROOT / ".demo"
CONFIG = PLACE / "agent.yml"
BUILDSPECD = [sys.executable, "-m", "agent"]
PUBLIC_IMAGE = "public.ecr.aws/docker/library/busybox:stable"
LOCAL_IMAGE = "buildspecd-demo/busybox:1"
console = Console(stderr=False, highlight=False)


def main() -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the daemon running to play with")
    keep = parser.parse_args().keep
    heading("An image for the builds")
    image = choose_image()
    heading("A repository, a project, a daemon")
    with internal_service() as url:
        shutil.rmtree(PLACE, ignore_errors=True)
        work = make_repository()
        configure(image, url)
        daemon = start_daemon()
        try:
            builds = [push_and_watch(work, text) for text in ("Built by the first commit.", "Built by the second.")]
            show_result(builds)
            if keep:
                leave_running(daemon)
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(30)
    return 0 if all(build["buildStatus"] == "SUCCEEDED" for build in builds) else 1


def heading(text: str) -> None:
    """Say what happens next."""
    console.print(f"\n[bold cyan]== {text}[/]")


def choose_image() -> str:
    """Return an image that is on the host: pulled where a registry can be reached, else made from busybox-static."""
    for image in (PUBLIC_IMAGE, LOCAL_IMAGE):
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0:
            console.print(f"using {image}, which is here already")
            return image
    console.print(f"pulling {PUBLIC_IMAGE}")
    if subprocess.run(["docker", "pull", "--quiet", PUBLIC_IMAGE], capture_output=True, timeout=120).returncode == 0:
        return PUBLIC_IMAGE
    console.print(f"no registry can be reached; making {LOCAL_IMAGE} from Debian's busybox-static")
    make_image()
    return LOCAL_IMAGE


def make_image() -> None:
    """Import an image that holds busybox and nothing else."""
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("demo: busybox is missing; `apt-get install busybox-static` brings it")
    tree = PLACE / "image"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "tmp", "root", "etc"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", LOCAL_IMAGE], stdin=tar.stdout, check=True, capture_output=True)
    shutil.rmtree(tree)


@contextmanager
def internal_service() -> Iterator[str]:
    """Serve a line of text on a loopback port: a stand-in for the database or load balancer of a VPC."""

    class Reply(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"reply of a service on the host's own network\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reply)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def git(*words: str, at: Path) -> str:
    """Run git in *at*; return what it printed."""
    identity = ["-c", "user.name=Demo", "-c", "user.email=demo@example.com"]
    done = subprocess.run(["git", *identity, *words], cwd=at, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository() -> Path:
    """Make a bare repository and a clone of it with one file set; return the clone."""
    bare, work = PLACE / "hello.git", PLACE / "hello"
    PLACE.mkdir(parents=True)
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), at=PLACE)
    git("clone", "--quiet", str(bare), str(work), at=PLACE)
    git("checkout", "--quiet", "-B", "main", at=work)
    for file in (HERE / "repository").iterdir():
        shutil.copy(file, work)
    console.print(f"repository  {bare}")
    return work


def configure(image: str, url: str) -> None:
    """Write agent.yml and one project file; every location is a directory."""
    (PLACE / "projects.d").mkdir()
    CONFIG.write_text(f'state_dir: {PLACE}/state\nruntime_dir: {runtime_dir()}\nhttp: {{listen: "127.0.0.1:0"}}\n')
    project = {
        "name": "hello",
        "source": {"type": "GIT", "location": f"file://{PLACE}/hello.git"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": image,
            "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{"name": "INTERNAL_URL", "value": url}],
        },
        "artifacts": {
            "type": "S3",
            "location": f"file://{PLACE}/artifacts",
            "packaging": "ZIP",
            "namespaceType": "BUILD_ID",
            "name": "site.zip",
        },
        "cache": {"type": "S3", "location": f"file://{PLACE}/cache"},
        "logsConfig": {"s3Logs": {"status": "ENABLED", "location": f"file://{PLACE}/logs"}},
    }
    (PLACE / "projects.d" / "hello.json").write_text(json.dumps(project, indent=2))
    console.print(f"project     {PLACE}/projects.d/hello.json")


def runtime_dir() -> Path:
    """Return a directory on a tmpfs for the variables of running builds."""
    return Path("/dev/shm") / f"buildspecd-demo-{os.getuid()}"


def start_daemon() -> subprocess.Popen[bytes]:
    """Start `buildspecd serve` and wait until it answers."""
    log = (PLACE / "daemon.log").open("wb")
    daemon = subprocess.Popen([*BUILDSPECD, "serve", "--config", str(CONFIG)], stdout=log, stderr=log, cwd=ROOT)
    for _ in range(300):
        if (
            subprocess.run([*BUILDSPECD, "builds", "--config", str(CONFIG)], capture_output=True, cwd=ROOT).returncode
            == 0
        ):
            console.print(f"daemon      buildspecd serve --config {CONFIG}")
            return daemon
        if daemon.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"demo: the daemon did not start:\n{(PLACE / 'daemon.log').read_text()}")


def push_and_watch(work: Path, text: str) -> dict[str, Any]:
    """Push a commit, show the log of the build that it starts, and return that build."""
    seen = {build["id"] for build in list_builds()}
    (work / "page.html").write_text(f"<!doctype html>\n<title>buildspecd demo</title>\n<p>{text}</p>\n")
    git("add", "--all", at=work)
    git("commit", "--quiet", "-m", text, at=work)
    commit = git("rev-parse", "HEAD", at=work)
    heading(f"git push: commit {commit[:12]} “{text}”")
    pushed = time.time()
    git("push", "--quiet", "origin", "HEAD:main", at=work)
    build = wait_for_build(seen)
    subprocess.run([*BUILDSPECD, "logs", "-f", build["id"], "--config", str(CONFIG)], check=True, cwd=ROOT)
    shown = subprocess.run(
        [*BUILDSPECD, "show", build["id"], "--json", "--config", str(CONFIG)],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    ended: dict[str, Any] = json.loads(shown.stdout)
    ended["pushed"] = pushed
    return ended


def wait_for_build(seen: set[str]) -> dict[str, Any]:
    """Return the build that was not there before, as soon as it is."""
    for _ in range(600):
        for build in list_builds():
            if build["id"] not in seen:
                return build
        time.sleep(0.05)
    sys.exit(f"demo: the push started no build; see {PLACE}/daemon.log")


def list_builds() -> list[dict[str, Any]]:
    """Return what `buildspecd builds --json` says."""
    done = subprocess.run(
        [*BUILDSPECD, "builds", "--json", "--config", str(CONFIG)], check=True, capture_output=True, cwd=ROOT
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["builds"]
    return found


def show_result(builds: list[dict[str, Any]]) -> None:
    """Print both builds side by side, and the artifacts that they left."""
    heading("What happened")
    table = Table("build", "commit", "status", "push to first command", "whole build", "cache", "sha256 of artifact")
    for build in builds:
        phases = {phase["phaseType"]: phase for phase in build["phases"]}
        first = phases["INSTALL"]["startTime"] - build["pushed"]
        whole = build["endTime"] - build["startTime"]
        table.add_row(
            f"#{build['buildNumber']}",
            build["resolvedSourceVersion"][:8],
            build["buildStatus"],
            f"{first:.2f} s",
            f"{whole:.1f} s",
            build["buildspecd"]["cache"]["restored"],
            build["artifacts"].get("sha256sum", "")[:8],
        )
    console.print(table)
    for build in builds:
        console.print(f"artifact of #{build['buildNumber']}: {build['artifacts']['location']}", soft_wrap=True)


def leave_running(daemon: subprocess.Popen[bytes]) -> None:
    """Tell how to play on, and wait for Ctrl-C."""
    buildspecd = f"{ROOT}/.venv/bin/buildspecd"
    heading("The daemon is still running; Ctrl-C ends it")
    console.print(
        f"push again:   cd {PLACE}/hello && git commit --allow-empty -m again && git push origin HEAD:main",
        soft_wrap=True,
    )
    console.print(f"look:         {buildspecd} builds --config {CONFIG}", soft_wrap=True)
    console.print(f"follow a log: {buildspecd} logs -f BUILD --config {CONFIG}", soft_wrap=True)
    try:
        daemon.wait()
    except KeyboardInterrupt:
        console.print("ending")


if __name__ == "__main__":
    sys.exit(main())
