"""The values that travel. Frozen, pure: no file, no socket, no clock."""
