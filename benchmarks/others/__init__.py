"""The tools that this project's pruning is measured against."""
