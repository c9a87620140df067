"""Triggers: what changed, and the request for a build that follows from it."""
