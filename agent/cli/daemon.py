"""Finding the daemon: its settings say where the control socket is."""

from __future__ import annotations

from pathlib import Path

from agent.cli.client import Client


def client(config: Path | None) -> Client:
    """Return a client of the daemon whose settings *config* (or the default file) holds."""
    from agent.settings.load import load_settings, settings_file

    return Client(load_settings(settings_file(config)).settings.state_dir)
