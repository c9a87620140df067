"""agent.yml and project files become values; every mistake is reported at once, with file, line and column."""
