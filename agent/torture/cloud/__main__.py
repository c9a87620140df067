"""The AWS-shaped server by itself: `python -m agent.torture.cloud --port 4566` says its URL and serves."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from agent.kit.service import StopToken
from agent.torture.cloud.server import CloudServer


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `--leash` until standard input ends, too."""
    parser = argparse.ArgumentParser(prog="python -m agent.torture.cloud", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0: a free one")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--leash", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    stop = StopToken()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.leash:
        threading.Thread(target=_until_end_of_input, args=(stop,), daemon=True).start()
    server = CloudServer(seed=options.seed, port=options.port)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.serve(stop)


def _until_end_of_input(stop: StopToken) -> None:
    while os.read(0, 1 << 16):  # not through sys.stdin, whose lock would be held when the interpreter ends
        pass
    stop.set()


if __name__ == "__main__":
    main()
