"""Composition root: settings in, a wired daemon or one local build out. The only room that names concrete classes."""
