"""XML: the one door to the parser; reads result files of builds that nobody trusts."""

from __future__ import annotations

from defusedxml import ElementTree

__all__ = ["ElementTree"]
