"""The program: `buildspecd`, and `python -m agent`. A daemon outlives a HUP from here on, before it is read at all."""

from __future__ import annotations

import signal
import sys


def program() -> int:
    """Run the command line; return the exit code.

    HUP tells a daemon to read its settings again. One that comes before there are any, or after the last use of them,
    means nothing, and by itself it would be death. Where it was ignored from the start (`nohup`) it stays so.
    """
    serves = sys.argv[1:2] == ["serve"] and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    if serves:
        signal.signal(signal.SIGHUP, lambda *_: None)  # not SIG_IGN: every process that we start would inherit that
    from agent.cli.main import main

    code = main()
    if serves:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a handler of ours is gone before the interpreter is
    return code


if __name__ == "__main__":
    sys.exit(program())
