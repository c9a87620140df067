"""Reports: what the result files of a build say. Bytes in, values out; nothing in here reads a file."""
