"""Source: a repository or a directory becomes a workspace at one exact commit."""
