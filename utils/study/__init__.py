"""The study: its comparisons, its results so far, and the conclusions from them."""
