"""Artifacts: which files of a build are kept, how they are packed, and under which key they lie."""
