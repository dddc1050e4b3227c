"""The progress of an epoch: a tqdm bar, or a plain line where there is neither terminal nor
notebook; and the time that epochs take."""

import sys
import time
from collections.abc import Callable

from tqdm.auto import tqdm

REFRESH = 0.5  # seconds; showing a loss means waiting for the device


class Progress:
    """Shows one epoch."""

    def __init__(self, title: str, batches: int):
        self.title = title
        self.bar = (
            tqdm(total=batches, desc=title, leave=True, dynamic_ncols=True)
            if sys.stderr.isatty() or in_notebook()
            else None
        )
        self.due = time.monotonic() + REFRESH

    def update(self, numbers: Callable[[], str]) -> None:
        """Advance by a batch. ``numbers`` is called only when the bar is redrawn."""
        if self.bar is not None:
            self.bar.update(1)
            if time.monotonic() >= self.due:
                self.bar.set_postfix_str(numbers())
                self.due = time.monotonic() + REFRESH

    def close(self, numbers: str) -> None:
        """Show the final numbers."""
        if self.bar is not None:
            self.bar.set_postfix_str(numbers)
            self.bar.close()
        else:
            print(f"{self.title}: {numbers}", flush=True)


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook, where tqdm draws bars of its own."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def time_told(seconds: float, epochs: int, words: str) -> str:
    """Return the seconds of an epoch, and ``words`` with the time that ``epochs`` epochs will
    take."""
    return f"{seconds:.1f} s an epoch, {words.format(tqdm.format_interval(seconds * epochs))}"
