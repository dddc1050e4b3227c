"""The one kind of error about a network that a user can mend."""


class UnreadableNetwork(ValueError):
    """A network that can't be had, or not be read from its graph: one line that says what stands in the way, and where."""
