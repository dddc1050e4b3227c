"""From a method to widths: listing, sweeping and drawing get the same networks, and results say
where theirs came from."""

import json
import re
from pathlib import Path

import pytest
from running import DIGITS, call, succeed
from searches import SEARCH

from model import count_params, prepare_filters, uniform_filters
from utils.records.methods import method_of, methods_of, origin, read_scalings
from utils.records.results import read_result
from utils.settings import Networks

RATIOS = (0.0625, 0.125)


@pytest.fixture(scope="module")
def stocked(searched):
    """A folder with a search of two iterations and a --morph search, on digits."""
    return searched


def listed(name: str) -> list[dict]:
    ratios = ["--ratios", *RATIOS]
    return json.loads(
        succeed(
            "list_architecture.py", "--dataset", "digits", "--prune-fname", name, "--json", *ratios
        )
    )["architectures"]


@pytest.mark.parametrize("name, flags", [("found", []), ("morphed", ["--morph"])])
def test_the_widths_that_are_listed_are_those_that_are_trained(name, flags, folder):
    """Of a --morph search those are its last row, scaled; not its power law."""
    succeed(
        "ratio_swipe.py",
        "--save",
        "run",
        "--prune-fname",
        name,
        *flags,
        *DIGITS,
        "--epochs",
        1,
        "--ratios",
        *RATIOS,
    )
    last = {row["ratio"]: row["filters"] for row in listed(name)}
    assert len(last) == len(RATIOS)
    for ratio in RATIOS:
        assert (
            last[ratio]
            == read_result(Path(f"saved_plots/vgg/run_{int(100 * ratio)}.json"))["filters"]
        )


def test_the_listed_widths_of_a_morph_search_are_its_last_row_scaled(folder):
    row = [
        int(width)
        for width in Path("prune_record/morphed_0.csv").read_text().split()[-1].split(",")
    ]
    assert [row["filters"] for row in listed("morphed")] == [
        prepare_filters("vgg", ratio, pruned_filters=row) for ratio in RATIOS
    ]
    entry = json.loads(Path("prune_record/morphed.json").read_text())["iterations"][0]
    assert listed("morphed")[0]["filters"] != prepare_filters(
        "vgg", RATIOS[0], scaling=type("Law", (), entry)
    )


def test_a_result_says_which_search_its_network_came_from(folder):
    once = [*DIGITS, "--epochs", 1, "--ratios", 0.0625]
    for flags, iteration in (([], 1), (["--descent-idx", 0], 0)):
        succeed(
            "ratio_swipe.py", "--save", f"run_{iteration}", "--prune-fname", "found", *flags, *once
        )
        found = read_result(Path(f"saved_plots/vgg/run_{iteration}_6.json"))
        entry = json.loads(Path("prune_record/found.json").read_text())["iterations"][iteration]
        assert found["origin"] == origin("found", iteration, [entry["alpha"], entry["beta"]])
        assert re.fullmatch("[0-9a-f]{16}", found["origin"]["fingerprint"])
        assert found["threads"] >= 1 and (
            found["commit"] is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", found["commit"])
        )
    succeed(
        "ratio_swipe.py", "--save", "run", "--uniform", *DIGITS, "--epochs", 1, "--ratios", 0.0625
    )
    assert read_result(Path("saved_plots/vgg/run_6.json"))["origin"] is None


def test_two_searches_have_two_fingerprints(folder):
    record = read_scalings("prune_record", "found", "vgg", "digits")
    prints = {
        method.origin["fingerprint"]
        for method in methods_of("prune_record", "found", record, "vgg")
    }
    prints.add(
        method_of(Networks(prune_fname="published"), "vgg", "CIFAR10", "").origin["fingerprint"]
    )
    assert len(prints) == 3


def test_a_method_never_exceeds_the_budget_of_its_ratio():
    for networks in (
        Networks(prune_fname="published"),
        Networks(prune_fname="published", descent_idx=0),
        Networks(morph=True),
    ):
        method = method_of(networks, "vgg", "CIFAR10", "")
        for ratio in (0.1, 0.5, 1.3):
            filters = method.filters(ratio, num_classes=10, image_size=32)
            assert count_params("vgg", filters) <= count_params(
                "vgg", uniform_filters("vgg", ratio)
            )


@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_exactly_the_warm_up_precedes_the_first_pruning_round(warmup, folder):
    """With a round after each batch but the first, filters go from epoch ``warmup`` (counted from
    0) on, and not before."""
    out = succeed(
        "architecture_descent.py",
        "--save",
        f"warm_{warmup}",
        *SEARCH,
        "--warmup",
        warmup,
        "--iterations",
        1,
    )
    left = [
        int(part)
        for part in re.findall(
            r"iteration 1 \(--descent-idx 0\), epoch \d+: .*, (\d+) of 172 filters", out
        )
    ]
    assert left[:warmup] == [172] * warmup and left[warmup] < 172


def test_a_warm_up_that_leaves_no_epoch_is_refused_and_one_that_leaves_one_is_not(folder):
    assert (
        call("architecture_descent.py", "--save", "x", *SEARCH, "--epochs", 2, "--warmup", 2).status
        == 2
    )
    succeed(
        "architecture_descent.py",
        "--save",
        "x",
        *SEARCH,
        "--epochs",
        2,
        "--warmup",
        1,
        "--iterations",
        1,
    )
