"""`buildspecd serve`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

from agent.cli.options import ConfigOption


def serve(config: ConfigOption = None) -> None:
    """Run the daemon in the foreground until INT or TERM; running builds go on without it.

    HUP reads settings and project files again.
    """
    from agent.app.daemon import HangUp
    from agent.app.daemon import serve as run_daemon
    from agent.cli.signals import stopping_on_signals
    from agent.kit.service import StopToken
    from agent.settings.load import settings_file

    file = settings_file(config)
    stop = StopToken()
    hang_up = HangUp()
    with stopping_on_signals(stop, reload=hang_up.ring):
        run_daemon(file, stop, hang_up)
