"""Errors that a user can mend, and the recognition of one that is nobody's fault: no memory."""

import os

# Words of PyTorch and its libraries, about the memory of a CPU or a GPU. "memory" alone is in many
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
    """An error that a user can mend: one line with what is wrong, where, and what to do."""


class Diverged(UserError):
    """Raised when a loss, a gradient or a weight becomes NaN or infinite."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error of Python or PyTorch means that memory has run out.

    That is a MemoryError, a torch.OutOfMemoryError, or a RuntimeError with words of NO_MEMORY.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in NO_MEMORY
    )


def physical_memory() -> int | None:
    """Return the bytes of memory of this machine; None where the system does not say."""
    return (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    )
