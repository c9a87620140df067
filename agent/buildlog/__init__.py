"""The log of a build: followed, masked, spooled, and delivered to its sinks."""
