"""Corpus: what buildspecd says to buildspec files that nobody here wrote; see `__main__.py`."""
