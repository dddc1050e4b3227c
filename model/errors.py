"""Errors about a network that a user can mend."""


class UnreadableNetwork(ValueError):
    """A network that can't be made, or not be read from its graph; a line with the reason and the
    place."""


class UnknownLayer(ValueError):
    """A name of a layer that a network does not have; a line with the names that are close."""


class OverBudget(ValueError):
    """Widths that were asked for and cost more than the budget; a line with the amount."""
