"""A trained network made smaller while it trains on: which filters go, how many of each layer, and
when."""
