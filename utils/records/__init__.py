"""Records: paths, files that are whole or not there, and the contents of searches, results and
checkpoints."""
