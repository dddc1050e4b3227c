"""Numbers that turn out to be one: a union-find."""


class Sets:
    """Disjoint sets of the numbers 0, 1, 2, ...; those that were joined have one root."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def new(self) -> int:
        """A number that is joined with no other yet."""
        self.parent.append(len(self.parent))
        return self.parent[-1]

    def root(self, member: int) -> int:
        """The number that stands for all that are joined with ``member``."""
        while self.parent[member] != member:
            self.parent[member] = member = self.parent[self.parent[member]]
        return member

    def join(self, one: int, other: int) -> None:
        """Makes one set of two; the root of ``one`` stands for it."""
        self.parent[self.root(other)] = self.root(one)
