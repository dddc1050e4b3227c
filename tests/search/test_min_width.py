"""--min-width and --keep through the scripts: searched, recorded, swept, pruned, refused; and laws
that were not fitted are loud."""

import json
from pathlib import Path

import pytest
from networks import forget
from running import DIGITS, ONCE, assert_refused, call, snapshot, succeed

from model import count_params, prepare_filters, template, uniform_filters
from utils.powerlaw import PowerLaw
from utils.records.files import read_rows
from utils.records.results import read_result
from utils.records.searches import floors_of, read_search
from utils.settings import SearchSettings, assigned, command_options, stored

NET = """
import torch
import torch.nn.functional as F
from torch import nn


class Excite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x):
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3)))))).unsqueeze(-1).unsqueeze(-1)


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.one, self.norm1, self.se1 = nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), Excite(24)
        self.two, self.norm2, self.se2 = nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), Excite(32)
        self.classifier = nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.se1(self.norm1(self.one(x))))
        return self.classifier(F.relu(self.se2(self.norm2(self.two(x)))).mean((2, 3)))
"""
MODEL = ["--model", "net.py:Net"]
LAYERS = [["stem"], ["one", "se1.excite"], ["se1.squeeze"], ["two", "se2.excite"], ["se2.squeeze"]]
QUICK = [
    *DIGITS,
    "--epochs",
    12,
    "--warmup",
    1,
    "--prune-every",
    1,
    "--prune-step",
    3,
    "--batch-size",
    20,
]
SEARCH = [*MODEL, *QUICK, "--ratio", 1, "--iterations", 1]
LOUD = "no power law was fitted in"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """Searches of a network with narrow layers: as by default, by the paper's rule, with layers
    kept; and of vgg with both."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        forget()
        Path("net.py").write_text(NET)
        succeed("architecture_descent.py", "--save", "usual", *SEARCH)
        succeed("architecture_descent.py", "--save", "paper", *SEARCH, "--min-width", 0)
        succeed(
            "architecture_descent.py",
            "--save",
            "kept",
            *SEARCH,
            "--keep",
            "stem",
            "*.squeeze",
            "--min-width",
            3,
        )
        succeed(
            "architecture_descent.py",
            "--save",
            "floors",
            *QUICK,
            "--ratio",
            0.0625,
            "--iterations",
            2,
            "--min-width",
            3,
            "--keep",
            "features.0",
        )
    return folder


pytestmark = pytest.mark.usefixtures("fresh")


def recorded(name: str, model: str = "net.py:Net"):
    record = read_search("prune_record", name, model, "digits")
    return record, [
        read_rows(Path(f"prune_record/{name}_{number}.csv"), len(entry["filters"]), entry["rounds"])
        for number, entry in enumerate(record["iterations"])
    ]


# --- searches -------------------------------------------------------------------------------------


def test_a_network_given_by_name_is_searched_as_it_is_and_leaves_two_filters(folder):
    record, [rows] = recorded("usual")
    assert (
        floors_of(record) == (2, ())
        and record["settings"]["min_width"] == 2
        and record["layers"] == LAYERS
    )
    assert (
        record["iterations"][0]["filters"] == [16, 24, 4, 32, 4]
        and record["iterations"][0]["fit"] == "power law"
    )
    assert len(rows) > 20 and min(map(min, rows)) >= 2 and rows[-1] != rows[0]
    assert sum(rows[0]) > 80 - 3 - 5  # recorded from the first round on
    assert (
        prepare_filters("net.py:Net", 0.75, search=True)
        == prepare_filters("net.py:Net", 0.75)
        == [12, 18, 3, 24, 3]
    )


def test_layers_that_are_kept_are_whole_in_every_row_and_their_laws_flat(folder):
    record, [rows] = recorded("kept")
    assert floors_of(record) == (3, ("stem", "*.squeeze"))
    assert {(row[0], row[2], row[4]) for row in rows} == {(16, 4, 4)} and min(
        min(row[1], row[3]) for row in rows
    ) >= 3
    entry = record["iterations"][0]
    assert [(entry["alpha"][layer], entry["beta"][layer]) for layer in (0, 2, 4)] == [
        (16, 0),
        (4, 0),
        (4, 0),
    ]
    assert entry["beta"][1] > 0 < entry["beta"][3]


def test_a_built_in_network_is_rebuilt_above_its_floors_at_the_same_budget(folder):
    record, (first, second) = recorded("floors", "vgg")
    # as in the template
    assert (
        [entry["filters"][0] for entry in record["iterations"]]
        == [64, 64]
        == [first[-1][0], second[-1][0]]
    )
    law, budget = record["iterations"][0], count_params("vgg", uniform_filters("vgg", 0.0625))
    widths = prepare_filters(
        "vgg", 0.0625, scaling=PowerLaw(law["alpha"], law["beta"]), min_width=3, keep=["features.0"]
    )
    assert (
        record["iterations"][1]["filters"] == widths
        and 0.95 * budget < count_params("vgg", widths) <= budget
    )
    assert min(map(min, [*first, *second])) >= 3


def test_what_never_lost_a_filter_is_told_by_name(folder):
    out = succeed(
        "architecture_descent.py", "--save", "again", *SEARCH, "--min-width", 4, "--keep", "stem"
    )
    [line] = [line for line in out.splitlines() if line.startswith("  flat")]
    assert (
        line.endswith("the laws of layers that never lost a filter: se1.squeeze, se2.squeeze")
        and LOUD not in out
    )


def test_other_floors_are_other_settings(folder):
    command = ["architecture_descent.py", *SEARCH, "--keep", "stem", "--save"]
    succeed(*command, "whole")
    assert_refused(call(*command, "whole", "--min-width", 3), "begun with min_width = 2, not 3")
    assert_refused(
        call(*command[:-1], "two", "--save", "whole"),
        "begun with keep = ['stem'], not ['stem', 'two']",
    )


def test_a_record_without_them_is_one_of_the_papers_rule(folder):
    path = Path("prune_record/paper.json")
    content = json.loads(path.read_text())
    assert content["settings"].pop("min_width") == 0 and content["settings"].pop("keep") == []
    # as searches of earlier versions had narrow widths
    content["iterations"][0]["filters"] = [16, 24, 14, 32, 14]
    path.write_text(json.dumps(content))
    listed = json.loads(
        call(
            "list_architecture.py",
            *MODEL,
            "--dataset",
            "digits",
            "--prune-fname",
            "paper",
            "--json",
        ).out
    )
    assert (listed["min_width"], listed["keep"]) == (0, [])
    before = snapshot(folder)
    assert "finished before" in succeed(
        "architecture_descent.py", "--save", "paper", *SEARCH, "--min-width", 0
    )
    assert_refused(
        call("architecture_descent.py", "--save", "paper", *SEARCH),
        "begun with min_width = 0, not 2",
    )
    assert snapshot(folder) == before


def test_an_unfinished_search_of_an_earlier_version_is_not_gone_on_with(folder):
    """Its narrow layers would be searched with fewer filters from here on."""
    path = Path("prune_record/paper.json")
    content = json.loads(path.read_text())
    del content["settings"]["min_width"], content["settings"]["keep"]
    path.write_text(json.dumps(content))
    before = snapshot(folder)
    more = ["--min-width", 0, "--iterations", 2, "--resume"]
    assert_refused(
        call("architecture_descent.py", "--save", "paper", *SEARCH, *more),
        "paper.json",
        "narrow layers with 10 filters more; it can be swept as it is",
    )
    assert snapshot(folder) == before


# --- sweeps, lists, exports, pruning --------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, min_width, keep",
    [
        ([], 3, ["stem", "*.squeeze"]),
        (["--min-width", 5], 5, ["stem", "*.squeeze"]),
        (["--keep", "one"], 3, ["one"]),
    ],
)
def test_a_sweep_takes_both_from_the_search_and_what_is_given_wins(flags, min_width, keep, folder):
    again = [
        "ratio_swipe.py",
        "--save",
        "run_0",
        *MODEL,
        *ONCE,
        "--prune-fname",
        "kept",
        "--ratios",
        0.5,
    ]
    succeed(*again, *flags)
    result = read_result(Path("saved_plots/net.Net/run_0_50.json"))
    record, _ = recorded("kept")
    law = PowerLaw(record["iterations"][0]["alpha"], record["iterations"][0]["beta"])
    shape = {"num_classes": 10, "image_size": 32}
    assert (result["min_width"], result["keep"]) == (min_width, keep)
    assert result["filters"] == prepare_filters(
        "net.py:Net", 0.5, scaling=law, min_width=min_width, keep=keep, **shape
    )
    assert all(
        width >= min(min_width, own)
        for width, own in zip(result["filters"], template("net.py:Net"))
    )
    listed = json.loads(
        succeed(
            "list_architecture.py",
            *MODEL,
            "--dataset",
            "digits",
            "--prune-fname",
            "kept",
            "--ratios",
            0.5,
            "--json",
            *flags,
        )
    )
    assert listed["architectures"][-1]["filters"] == result["filters"] and (
        listed["min_width"],
        listed["keep"],
    ) == (min_width, keep)
    assert "finished before" in succeed(*again, *flags)
    if flags:
        assert_refused(call(*again), "run_0_50.json")


def test_uniform_networks_have_floors_only_where_they_are_given(folder):
    for name, flags, filters in (
        ("plain", [], [4, 6, 1, 8, 1]),
        ("above", ["--min-width", 3], None),
    ):
        succeed(
            "ratio_swipe.py", "--save", name, *MODEL, *ONCE, "--uniform", "--ratios", 0.25, *flags
        )
        result = read_result(Path(f"saved_plots/net.Net/{name}_25.json"))
        assert result["filters"] == filters if filters else min(result["filters"]) == 3
        assert result["params"] <= count_params("net.py:Net", [4, 6, 1, 8, 1])


def test_magnitude_pruning_leaves_both(folder):
    succeed("train_norm.py", "--save", "base", *MODEL, *ONCE)
    command = ["fine_tune.py", *MODEL, *ONCE, "--prune-fname", "base", "--ratio", 0.4, "--save"]
    for name, flags, min_width, keep in (
        ("usual", [], 2, []),
        ("given", ["--min-width", 3, "--keep", "one"], 3, ["one"]),
    ):
        succeed(*command, name, *flags)
        result = read_result(Path(f"saved_plots/net.Net/{name}_40.json"))
        assert (result["min_width"], result["keep"]) == (min_width, keep) and min(
            result["filters"]
        ) == min_width
        assert (result["filters"][1] == 24) == bool(keep)
    assert min(prepare_filters("net.py:Net", 0.4, pruned_filters=[16, 24, 4, 32, 4])) == 1


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, naming",
    [
        (
            ["--keep", "stam"],
            [
                "--keep: 'stam' is no layer of net.py:Net that has a width to choose; is it stem",
                "check_model.py lists them",
            ],
        ),
        # whose width is the classes
        (["--keep", "stem", "classifier"], ["--keep: 'classifier' is no layer of net.py:Net"]),
        (["--keep", "*"], ["--keep *: no layer could lose a filter"]),
        (["--min-width", 32], ["--min-width 32: no layer could lose a filter"]),
        (
            ["--min-width", 16, "--ratio", 0.5],
            [
                "--min-width 16, ratio 0.5: the fewest filters",
                "cost",
                "use a larger ratio or a smaller",
            ],
        ),
        (
            ["--keep", "one", "two", "--ratio", 0.5],
            ["--keep one two, ratio 0.5", "a smaller --min-width or less to --keep"],
        ),
        (["--min-width", -1], ["--min-width"]),
    ],
)
def test_a_search_of_nothing_is_refused_in_one_line(flags, naming, folder):
    before = snapshot(folder)
    assert_refused(
        call("architecture_descent.py", "--save", "usual", "--overwrite", *SEARCH, *flags), *naming
    )
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "flags, naming",
    [
        (["--keep", "stam"], "is it stem"),
        (
            ["--min-width", 24, "--ratios", 1, 0.5],
            "--min-width 24, --keep stem *.squeeze, ratio 0.5",
        ),
        (["--round-to", 8, "--min-width", 24, "--ratios", 1, 0.5], "--round-to 8, --min-width 24"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_any_is_trained(flags, naming, folder):
    before = snapshot(folder)
    assert_refused(
        call(
            "ratio_swipe.py",
            "--save",
            "run_0",
            "--overwrite",
            *MODEL,
            *ONCE,
            "--prune-fname",
            "kept",
            *flags,
        ),
        naming,
    )
    assert_refused(
        call(
            "list_architecture.py", *MODEL, "--dataset", "digits", "--prune-fname", "kept", *flags
        ),
        naming,
    )
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"min_width": -1},
        {"min_width": "2"},
        {"min_width": 10**400},
        {"keep": [3]},
        {"keep": 5},
        {"keep": None},
        {"keep": "stem"},
    ],
)
def test_a_record_of_strange_floors_is_refused(change, folder):
    path = Path("prune_record/kept.json")
    content = json.loads(path.read_text())
    content["settings"].update(change)
    path.write_text(json.dumps(content))
    assert_refused(
        call("list_architecture.py", *MODEL, "--dataset", "digits", "--prune-fname", "kept"),
        "kept.json",
    )


# --- settings -------------------------------------------------------------------------------------


def test_the_least_width_goes_by_the_network_and_is_stored_as_a_number():
    for model, given, found in (
        ("vgg", None, 0),
        ("vgg", 3, 3),
        ("net.py:Net", None, 2),
        ("net.py:Net", 0, 0),
    ):
        assert stored(SearchSettings(model=model, min_width=given))["min_width"] == found


def test_they_are_given_to_the_searches_of_an_experiment():
    settings = SearchSettings().with_overrides(
        assigned(SearchSettings(), ["min-width=3", "keep=stem,blocks.*"])
    )
    assert (settings.min_width, settings.keep) == (3, ("stem", "blocks.*"))
    assert command_options(settings, SearchSettings()) == [
        "--min-width",
        "3",
        "--keep",
        "stem",
        "blocks.*",
    ]


# --- a stand-in for a law -------------------------------------------------------------------------


def test_whatever_uses_a_stand_in_for_a_law_says_so_in_one_line(folder):
    more = [*MODEL, "--dataset", "digits", "--prune-fname", "paper"]
    said = [
        call("list_architecture.py", *more, "--ratios", 0.5).out,
        call("plot_filters.py", *more).out,
        call("list_architecture.py", *more, "--ratios", 0.5, "--json").err,
        call(
            "ratio_swipe.py",
            "--save",
            "run_0",
            *MODEL,
            *ONCE,
            "--prune-fname",
            "paper",
            "--ratios",
            0.5,
        ).out,
        call("export.py", *more, "--ratio", 0.5).out,
        call(
            "submit.py",
            *MODEL,
            "--dataset",
            "digits",
            "--search",
            "paper",
            "--name",
            "x",
            "--seeds",
            0,
            "--ratios",
            0.5,
            "--methods",
            "neuralscale",
            "--limit-train",
            100,
            "--limit-test",
            50,
            "--train-with",
            "epochs=1",
            "batch-size=50",
        ).out,
    ]
    for out in said:
        [line] = [line for line in out.splitlines() if LOUD in line]
        assert line.startswith(
            f"paper: {LOUD} iteration 1 (--descent-idx 0); what is used in its place is the "
            "first row"
        )
        assert "fewer than 6 rows" in line and "--min-width 2" in line and "--prune-step" in line
    assert LOUD not in succeed(
        "list_architecture.py",
        *MODEL,
        "--dataset",
        "digits",
        "--prune-fname",
        "usual",
        "--ratios",
        0.5,
    )


def test_records_of_earlier_versions_say_it_by_their_numbers(folder):
    for name, loud in (("paper", True), ("usual", False)):
        path = Path(f"prune_record/{name}.json")
        content = json.loads(path.read_text())
        del content["iterations"][0]["fit"]
        path.write_text(json.dumps(content))
        out = succeed(
            "list_architecture.py",
            *MODEL,
            "--dataset",
            "digits",
            "--prune-fname",
            name,
            "--ratios",
            0.5,
        )
        assert (f"{LOUD} iteration 1" in out) == loud


def test_of_a_morph_search_no_law_is_used_and_none_is_missed(folder):
    out = succeed(
        "architecture_descent.py",
        "--save",
        "morphed",
        *MODEL,
        *QUICK,
        "--morph",
        "--prune-step",
        20,
    )
    out += succeed(
        "list_architecture.py",
        *MODEL,
        "--dataset",
        "digits",
        "--prune-fname",
        "morphed",
        "--ratios",
        0.5,
    )
    assert LOUD not in out
