"""Records: paths, files that are whole or not there, and what a search, a result and a checkpoint
hold."""
