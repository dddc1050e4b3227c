"""The one kind of error that a user can mend."""


class UserError(Exception):
    """Something that the user can mend: one line that says what is wrong, where, and what to do."""


class Diverged(UserError):
    """A loss, a gradient or a weight became NaN or infinite."""
