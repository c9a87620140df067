"""Whole builds: real Docker, real git, a real daemon process, and a server that speaks AWS."""
