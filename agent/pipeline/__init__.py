"""The route of one build: a list of idempotent steps, walked by one thread."""
