"""Environment: the variables of a build, layer over layer, and where their secret values come from."""
