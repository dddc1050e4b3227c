"""The comparison with other tools: what it stores, and its table."""

import sys
from pathlib import Path

import pytest
from running import REPOSITORY

from utils.errors import UserError
from utils.records.files import read_json, write_json

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import peers

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(
            nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, num_classes),
        )
"""
SMALL = (
    *("--dataset", "digits", "--limit-train", "300", "--validate", "100", "--seeds", "0"),
    *("--base-epochs", "1", "--epochs", "1", "--methods", "taylor", "random_uniform"),
    *("--networks", "net.py:Net", "--out", "out", "--work", "work", "--device", "cpu"),
)


@pytest.fixture
def main(tmp_path, monkeypatch):
    """Runs the benchmark in a folder with a network."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)

    def main(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["peers.py", *SMALL, *options])
        peers.main()

    return main


def test_results_are_stored_and_not_computed_again(main, capsys):
    main()
    first = capsys.readouterr().out
    base, taylor = (read_json(Path("out", "Net", f"{name}_0.json")) for name in ("base", "taylor"))
    assert taylor["macs"] <= base["macs"] / 4 and len(taylor["widths"]) == 2
    assert {"test", "held_out", "params", "versions", "asked"} <= taylor.keys()
    assert first.rstrip().splitlines()[-1].startswith("| random, uniform widths | 1 |")

    written = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.json")}
    main()
    again = capsys.readouterr().out
    assert "epoch 0" in first and "epoch 0" not in again
    assert written == {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.json")}
    assert first.splitlines()[-5:] == again.splitlines()[-5:]

    with pytest.raises(UserError, match=r"base_0\.json: of other settings"):
        main("--target", "30%")


def test_the_table_has_means_and_pooled_errors(tmp_path):
    """Two seeds of three ways, by hand: the squares within them are 2, 2 and 8, with 3 degrees of
    freedom, and their deviation is 2."""
    accuracies = {"base": (90, 91), "taylor": (60, 62), "magnitude": (50, 52), "tp_all": (55, 59)}
    for name, values in accuracies.items():
        for seed, value in enumerate(values):
            facts = {"test": value, "held_out": value + 1, "params": 2000, "macs": 3_000_000}
            write_json(tmp_path / "Net" / f"{name}_{seed}.json", facts)

    rows = dict(
        (cells[1], cells[2:-1])
        for line in peers.table(tmp_path, "net.py:Net").splitlines()[4:]
        if (cells := [cell.strip() for cell in line.split("|")])
    )
    assert rows["Taylor score per MAC"][1:3] == ["62.00 ± 1.41", "61.00 ± 1.41"]
    assert rows["magnitude"] == ["2", "52.00 ± 1.41", "51.00 ± 1.41", "-10.00 ± 2.00", "2", "3.00"]
    assert rows["Torch-Pruning, over all layers"][3] == "-4.00 ± 2.00"
    assert rows["the base network"][3] == ""
    assert peers.table(tmp_path, "net.py:Other") == "Other: no results yet"
