"""The kinds of errors about a network that a user can mend."""


class UnreadableNetwork(ValueError):
    """A network that can't be had, or not be read from its graph: one line that says what stands in
    the way, and where."""


class UnknownLayer(ValueError):
    """A name of a layer that a network has not: one line that says which names are near."""


class OverBudget(ValueError):
    """Widths that are asked for, but cost more than the budget: one line that says how much."""
