"""Cache: what a build leaves for the next one, and how an unchanged one is recognised."""
