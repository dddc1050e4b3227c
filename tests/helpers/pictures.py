"""Readers of what the plotting scripts print and draw."""

import json
import re
from collections import defaultdict
from pathlib import Path

import matplotlib.image
from PIL import Image

ROW = re.compile(r" *(\S+) +([\d.,]+)(?: MMACs)?  (.*?) +(\S+) +([\d,]+) +([\d.,]+) +([\d.]+)")


def table(out: str) -> dict[str, dict[float, dict[str, str]]]:
    """Read the printed table: label -> ratio -> column -> what stands there."""
    lines = out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("method"))
    columns = lines[begin].split()[1:]
    rows = defaultdict(dict)
    for line in lines[begin + 1 :]:
        if (cells := re.fullmatch(r"(.*?)" + r"\s+(\S+)" * len(columns), line)) and re.fullmatch(
            r"[\d.]+", cells[2]
        ):  # not a sentence, nor a remark
            rows[cells[1]][float(cells[2])] = dict(zip(columns, cells.groups()[1:]))
    return dict(rows)


def parts(out: str) -> tuple[str, dict[str, dict[float, tuple]]]:
    """Read the table of the curves, and of each unit: budget's ratio -> (amount, method, ratio,
    parameters, MMACs, mean)."""
    curves, *tables = out.split("\n\n")
    return curves, {
        unit: {
            float(row[1]): row.groups()[1:]
            for row in map(ROW.fullmatch, lines.splitlines())
            if row and row[1] != "budget"
        }
        for unit, lines in zip(("macs", "params"), tables, strict=True)
    }


def drawn(path) -> list[dict]:
    """Read the numbers that a picture carries: of each of its axes, lines [label, x, y] and rows of
    images."""
    return json.loads(Image.open(path).text["Description"])


def lines_of(path) -> list[dict[str, dict[float, float]]]:
    """Read the lines of each axes of a picture: label -> x -> y."""
    return [{label: dict(zip(x, y)) for label, x, y in axes["lines"]} for axes in drawn(path)]


def assert_is_a_picture(path: Path) -> None:
    """Check that a file is an image with something drawn in it."""
    pixels = matplotlib.image.imread(path)
    inked = (pixels[..., :3] < 0.99).any(axis=2).mean()
    assert pixels.shape[0] > 300 and pixels.shape[1] > 500 and 0.02 < inked < 0.9
