"""The build's container: the engine that runs it, its image, and the files through which it talks to the daemon."""
