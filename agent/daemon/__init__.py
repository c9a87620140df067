"""The daemon: takes requests in, decides what runs now, survives its own restarts."""
