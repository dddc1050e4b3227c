"""Networks to export, and what an export says of itself."""

import json
from pathlib import Path

from running import ONCE, succeed


def tune(model: str, ratio: float) -> None:
    """Train a base network of ratio 0.125, and from it a fine-tuned one of another ratio."""
    of = ["--model", model, *ONCE]
    succeed("train_norm.py", *of, "--save", "base", "--ratio", 0.125)
    succeed("fine_tune.py", *of, "--prune-fname", "base", "--save", "tuned_0", "--ratio", ratio)


def said(folder: Path) -> dict:
    """Read what an export says of its network."""
    return json.loads((folder / "architecture.json").read_text())
