"""Pruning of a trained network while it trains on: which filters are removed, how many of each
layer, and when."""
