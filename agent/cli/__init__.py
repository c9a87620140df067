"""The command line: one file a command; errors become messages, hints and exit codes in `main`."""
