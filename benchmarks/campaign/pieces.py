"""The pieces of parts 1 and 2, and when one is begun: only if it can be expected to end in time."""

from __future__ import annotations

import contextlib
import io
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from campaign.agreement import search_agrees, training_agrees
from campaign.scale import WEIGHT, Scale, formats
from campaign.scene import Scene
from campaign.speed import speed
from campaign.store import Facts, Store
from campaign.waits import line_of, steps
from utils.records.run import provenance

MARGIN = 1.3  # how much longer than expected a piece may take


class OutOfTime(BaseException):
    """Raised in a piece that is still running when the minutes are over."""


@dataclass(frozen=True)
class Piece:
    """A piece of a part. ``guess`` is how many seconds it may take, before any was measured."""

    part: str
    name: str
    guess: float
    run: Callable[[Scene], Facts]

    @property
    def kind(self) -> str:
        """The kind of measurement, in a word."""
        return self.name.split()[0]


def pieces_of(scale: Scale) -> list[Piece]:
    """Return the pieces of parts 1 and 2, in order of worth."""
    found = []
    for kind, guess, work in (
        ("search", scale.searching, search_agrees),
        ("train", scale.training, training_agrees),
        ("steps", scale.steps, steps),
    ):
        for form, amp in formats().items():
            for model in scale.models:
                run = partial(work, model=model, amp=amp)
                name = f"{kind} {model} {form}"
                weight = WEIGHT.get(model, max(WEIGHT.values()))
                found.append(Piece("agreement", name, guess * weight, run))
    for ratio in scale.ratios:
        for model in scale.models:
            run = partial(speed, model=model, ratio=ratio)
            found.append(Piece("speed", f"speed {model} {ratio:g}", scale.speed, run))
    return found


def expected(piece: Piece, store: Store, device: str) -> float:
    """Return how many seconds a piece may take here.

    That is its guess, times the largest factor by which pieces of its kind have missed theirs on
    this device, or pieces of any kind where there are none of its own, times MARGIN.
    """
    factors: dict[str, list[float]] = {}
    for pieces in store.parts.values():
        for name, facts in pieces.items():
            if facts.get("device") == device and facts.get("guess"):
                factors.setdefault(name.split()[0], []).append(facts["seconds"] / facts["guess"])
    known = factors.get(piece.kind) or [factor for own in factors.values() for factor in own]
    return MARGIN * piece.guess * max(known, default=1.0)


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside after so many seconds."""

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def do(piece: Piece, scene: Scene, store: Store, seconds: float) -> str:
    """Run a piece for at most so many seconds, store what it found, and return a line on it.

    An error is stored as what it found. What ran out of time is not stored as found, but the next
    call expects it to take longer.
    """
    device = provenance(scene.device)
    about = {
        "guess": piece.guess,
        "device": device["versions"]["device"],
        "versions": device["versions"],
        "threads": device["threads"],
        "commit": device["commit"],
    }
    began, facts = time.monotonic(), {}
    try:
        with contextlib.redirect_stdout(io.StringIO()), alarm(seconds):
            facts = piece.run(scene)
        told = "stored"
    except OutOfTime:
        facts, told = {"unfinished": "ran out of time"}, "ran out of time"
    except Exception as error:  # the campaign goes on, whatever a piece raises
        facts = {"error": line_of(error)}
        told = f"failed, {facts['error']}"
    took = round(time.monotonic() - began, 1)
    store.keep(piece.part, piece.name, {**facts, **about, "seconds": took})
    return f"{piece.name}: {told} ({took:.0f} s)"
