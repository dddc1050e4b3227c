"""The one kind of error that a user can mend, and how to recognise one that is not of the project's
making: no memory."""

import os

# What PyTorch and its libraries say, of the CPU's memory and of a GPU's. "memory" alone is in many
# other messages.
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "defaultcpuallocator",
    "bad_alloc",
    "_status_alloc_failed",
)


class UserError(Exception):
    """Something that the user can mend: one line that says what is wrong, where, and what to do."""


class Diverged(UserError):
    """A loss, a gradient or a weight became NaN or infinite."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, as Python or PyTorch says it: MemoryError,
    torch.OutOfMemoryError, or a RuntimeError of those words."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in NO_MEMORY
    )


def physical_memory() -> int | None:
    """How many bytes this machine has; None where the system does not say."""
    return (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    )
