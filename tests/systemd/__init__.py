"""The shipped unit under a real systemd, booted in a container."""
