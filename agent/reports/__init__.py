"""Reports: what the result files of a build say."""
