"""buildspecd: runs CodeBuild buildspecs in Docker, inside your own network."""

__version__ = "0.1.0"
