"""Buildspec: text in, a fully decided Plan or every problem with its place out. Pure: no file, no clock, no network."""
