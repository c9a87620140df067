"""The numbered cases of the specification, by their numbers."""
