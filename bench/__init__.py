"""Benchmarks: every result is a ratio against a baseline that was measured in the same run."""
