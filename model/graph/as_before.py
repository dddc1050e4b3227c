"""Runs a user's code and leaves this process as it was before."""

from __future__ import annotations

import contextlib
import logging
import os
import random as python_random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def as_before(folder: str | None = None, random: bool = True) -> Iterator[None]:
    """Restore this process's state afterwards, whatever is done inside.

    Restored are the current folder, sys.path (inside, ``folder`` comes first), sys.argv (inside, it
    has no arguments), the environment, warnings (silent inside), logging, the handlers of signals
    and torch's settings; with ``random`` also the state of every random number generator.
    """
    here, path, arguments, environment, limit = (
        os.getcwd(),
        list(sys.path),
        list(sys.argv),
        dict(os.environ),
        sys.getrecursionlimit(),
    )

    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    signals = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    settings, states = torch_settings(), draws() if random else []
    said, drawn = [get() for get, _ in settings], [get() for get, _ in states]

    # the code inside finds the modules beside it, and no command line that is not its own
    if folder is not None:
        sys.path.insert(0, folder)
    sys.argv[1:] = []
    try:
        # what is printed there may be read by a program
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        # files and the process itself
        os.chdir(here)
        sys.path[:], sys.argv[:] = path, arguments
        restore_environment(environment)
        sys.setrecursionlimit(limit)

        # logging and signals
        root.handlers[:], root.manager.disable = handlers, disabled
        root.setLevel(level)
        for which, answer in signals.items():
            if signal.getsignal(which) is not answer and answer is not None:
                with contextlib.suppress(ValueError):  # not in the main thread
                    signal.signal(which, answer)

        # torch's settings, and what is drawn next
        for (get, put), value in zip(settings, said):
            if get() != value:
                put(value)
        for (_, put), value in zip(states, drawn):
            put(value)


def restore_environment(before: dict[str, str]) -> None:
    """Make os.environ equal to ``before``, changing only what differs."""
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def torch_settings() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return a getter and a setter for each of torch's global settings."""
    import torch
    from torch.utils import _device

    flags: list[tuple[Any, str]] = [
        (torch.backends.cudnn, name)
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ]
    flags.append((torch.backends.cuda.matmul, "allow_tf32"))

    def set_flags(values: list[bool]) -> None:
        for (place, name), value in zip(flags, values):
            setattr(place, name, value)

    # pairs of getter and setter
    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (lambda: _device.CURRENT_DEVICE, torch.set_default_device),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        (lambda: [getattr(place, name) for place, name in flags], set_flags),
    ]


def draws() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return a getter and a setter for the state of each shared random number generator."""
    import numpy as np
    import torch

    found: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (python_random.getstate, python_random.setstate),
        (np.random.get_state, np.random.set_state),
        (torch.get_rng_state, torch.set_rng_state),
    ]

    # a GPU that was never used has no state worth keeping
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found.append((torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all))
    return found
