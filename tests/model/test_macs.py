"""Budgets in multiply-accumulates: what is scaled to them, and what records and results say of
it."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built_in import BUILT_IN
from networks import build, measured_macs, random_filters
from pictures import table
from PIL import Image
from results import write_result
from running import (
    ONCE,
    assert_refused,
    call,
    everything,
    fork,
    lasting,
    snapshot,
    succeed,
    wait_for,
)
from searches import SEARCH, last_row, law_of

from model import (
    BUDGETS,
    MODELS,
    count_macs,
    count_params,
    macs_per_filter,
    prepare_filters,
    template,
    uniform_filters,
)
from utils import pruning
from utils.powerlaw import PowerLaw, fit_power_law
from utils.records.methods import method_of, methods_of, read_scalings
from utils.records.results import read_result
from utils.settings import Networks
from utils.training import progress

RATIO = 0.125


@pytest.fixture(scope="module")
def stocked(searched, tmp_path_factory):
    """A folder with a search and a --morph search by parameters, and a base network."""
    folder = shutil.copytree(searched, tmp_path_factory.mktemp("stocked") / "folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("train_norm.py", "--save", "base", "--ratio", 0.25, *ONCE)
    return folder


def say(name: str, budget: str | None) -> None:
    """Makes the record of a search one of this budget; None: of a version that knew no other than
    parameters."""
    path = Path(f"prune_record/{name}.json")
    record = json.loads(path.read_text())
    record["settings"].pop("budget", None)
    record["settings"] |= {"budget": budget} if budget else {}
    path.write_text(json.dumps(record))


# --- sweeps ---------------------------------------------------------------------------------------

METHODS = {
    "--prune-fname found": lambda: {"scaling": law_of("found")},
    "--morph --prune-fname morphed": lambda: {"pruned_filters": last_row("morphed")},
    "--uniform": dict,
}


@pytest.mark.parametrize("options", METHODS)
def test_a_sweep_by_macs_trains_the_networks_of_that_budget_and_its_results_say_so(options, folder):
    command = ["ratio_swipe.py", *options.split(), "--ratios", RATIO, *ONCE]
    out = succeed(*command, "--save", "by_macs", "--budget", "macs")
    succeed(*command, "--save", "by_params")
    found, usual = (
        read_result(Path(f"saved_plots/vgg/{name}_12.json")) for name in ("by_macs", "by_params")
    )
    assert (found["budget"], usual["budget"]) == ("macs", "params")
    assert found["filters"] == prepare_filters("vgg", RATIO, **METHODS[options](), budget="macs")
    assert usual["filters"] == prepare_filters("vgg", RATIO, **METHODS[options]())
    assert (found["filters"] == usual["filters"]) == (options == "--uniform")
    budget = count_macs("vgg", uniform_filters("vgg", RATIO))
    assert found["macs"] == count_macs("vgg", found["filters"]) <= budget
    assert f"{found['macs'] / budget:.2%} of the budget {budget / 1e6:.1f} MMACs" in out


def test_a_sweep_takes_the_budget_of_its_search(folder):
    say("found", "macs")
    command = ["ratio_swipe.py", "--prune-fname", "found", "--ratios", RATIO, *ONCE, "--save"]
    succeed(*command, "run")
    found = read_result(Path("saved_plots/vgg/run_12.json"))
    assert found["budget"] == "macs" and found["filters"] == prepare_filters(
        "vgg", RATIO, scaling=law_of("found"), budget="macs"
    )
    before = snapshot(folder)
    assert "finished before, with these settings" in succeed(*command, "run", "--budget", "macs")
    assert_refused(
        call(*command, "run", "--budget", "params"),
        "run_12.json",
        "begun with budget = macs, not params",
    )
    assert snapshot(folder) == before
    succeed(*command, "other", "--budget", "params")
    assert read_result(Path("saved_plots/vgg/other_12.json"))["budget"] == "params"


def test_a_record_that_does_not_say_its_budget_is_of_parameters(folder):
    for budget in (None, "params"):
        say("found", budget)
        record = read_scalings("prune_record", "found", "vgg", "digits")
        assert [method.budget for method in methods_of("prune_record", "found", record, "vgg")] == [
            "params",
            "params",
        ]


@pytest.mark.parametrize("budget", ["flops", 3, ["macs"], {}])
def test_a_record_of_an_unknown_budget_is_refused(budget, folder):
    say("found", budget or {"": ""})
    for command in (
        ["ratio_swipe.py", "--save", "run", *ONCE],
        ["list_architecture.py", "--dataset", "digits"],
    ):
        assert_refused(call(*command, "--prune-fname", "found"), "found.json", "budget")


@pytest.mark.parametrize(
    "networks", [Networks(prune_fname="published"), Networks(morph=True), Networks(uniform=True)]
)
def test_without_a_record_the_budget_is_parameters(networks):
    assert method_of(networks, "vgg", "CIFAR10", "").budget == "params"
    method = method_of(replace(networks, budget="macs"), "vgg", "CIFAR10", "")
    filters = method.filters(0.5, num_classes=10, image_size=32)
    budget = count_macs("vgg", uniform_filters("vgg", 0.5))
    assert 0.97 * budget < count_macs("vgg", filters) <= budget


@pytest.mark.parametrize("script", ["sweep", "fine-tuning"])
def test_a_result_that_does_not_say_its_budget_is_of_parameters(script, folder):
    command = {
        "sweep": ["ratio_swipe.py", "--save", "run", "--uniform", "--ratios", RATIO, *ONCE],
        "fine-tuning": [
            "fine_tune.py",
            "--save",
            "run",
            "--prune-fname",
            "base",
            "--ratio",
            RATIO,
            *ONCE,
        ],
    }[script]
    succeed(*command)
    path = Path("saved_plots/vgg/run_12.json")
    result = json.loads(path.read_text())
    assert result.pop("budget") == "params"
    path.write_text(json.dumps(result))
    before = snapshot(folder)
    assert "finished before" in succeed(*command)
    assert_refused(
        call(*command, "--budget", "macs"), path.name, "begun with budget = params, not macs"
    )
    assert snapshot(folder) == before


# --- listing, and the magnitude baseline ----------------------------------------------------------


def listed(*options) -> dict:
    return json.loads(
        succeed(
            "list_architecture.py",
            "--dataset",
            "digits",
            "--ratios",
            RATIO,
            "--json",
            "--prune-fname",
            *options,
        )
    )


def test_architectures_are_listed_by_the_budget_asked_for_or_the_searchs(folder):
    usual, by_macs = (listed("found", "--budget", budget) for budget in ("params", "macs"))
    assert listed("found") == usual and (usual["budget"], by_macs["budget"]) == ("params", "macs")
    assert usual["architectures"][-1]["filters"] == prepare_filters(
        "vgg", RATIO, scaling=law_of("found")
    )
    assert by_macs["architectures"][-1]["filters"] == prepare_filters(
        "vgg", RATIO, scaling=law_of("found"), budget="macs"
    )
    assert all(
        row["macs"] <= count_macs("vgg", uniform_filters("vgg", RATIO))
        for row in by_macs["architectures"]
    )
    say("found", "macs")
    assert listed("found") == by_macs and listed("found", "--budget", "params") == usual
    shown = [
        "list_architecture.py",
        "--dataset",
        "digits",
        "--prune-fname",
        "found",
        "--ratios",
        RATIO,
    ]
    assert "scaled to MACs" in succeed(*shown) and "scaled to MACs" not in succeed(
        *shown, "--budget", "params"
    )


def test_the_magnitude_baseline_prunes_to_macs(folder):
    command = ["fine_tune.py", "--prune-fname", "base", "--ratio", RATIO, *ONCE, "--save"]
    out = succeed(*command, "by_macs", "--budget", "macs")
    succeed(*command, "by_params")
    found, usual = (
        read_result(Path(f"saved_plots/vgg/{name}_12.json")) for name in ("by_macs", "by_params")
    )
    budget = count_macs("vgg", uniform_filters("vgg", RATIO))
    assert (
        found["budget"] == "macs"
        and found["macs"] <= budget
        and f"of the budget {budget / 1e6:.1f} MMACs" in out
    )
    base = uniform_filters("vgg", 0.25)
    assert found["filters"] == prepare_filters("vgg", RATIO, pruned_filters=base, budget="macs")
    assert usual["budget"] == "params" and usual["params"] <= count_params(
        "vgg", uniform_filters("vgg", RATIO)
    )


# --- curves ---------------------------------------------------------------------------------------


def test_a_curve_scaled_to_macs_says_so_and_is_not_mixed_with_one_of_parameters(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    more = {"dataset": "CIFAR10", "method": "neuralscale_15"}
    write_result("vgg_10_eff_c10_late_0", 51.0, **more, budget="macs")
    write_result("vgg_10_eff_c10_late_1", 52.0, seed=1, **more, budget="macs")
    write_result("vgg_10_eff_c10_early_0", 53.0, **more, budget="params")
    write_result("vgg_10_eff_c10_early_1", 54.0, seed=1, **more)  # of an earlier version
    curves = table(succeed("plot_ratio.py", "--dataset", "CIFAR10", "--no-published"))
    assert {label: points[0.25]["n"] for label, points in curves.items()} == {
        "NeuralScale, iteration 15": "2",
        "NeuralScale, iteration 15, scaled to MACs": "2",
    }
    named = table(
        succeed(
            "plot_ratio.py",
            "--dataset",
            "CIFAR10",
            "--no-published",
            "--runs",
            "mine=vgg_10_eff_c10_late",
        )
    )
    assert list(named) == ["mine, scaled to MACs"]
    write_result("vgg_10_eff_c10_late_2", 53.0, seed=2, **more)
    assert_refused(
        call("plot_ratio.py", "--dataset", "CIFAR10"),
        "late_2_25.json",
        "late_0_25.json",
        "other budget",
        "params",
        "macs",
    )
    write_result("vgg_10_eff_c10_late_2", 53.0, seed=2, **more, budget="flops")
    assert_refused(call("plot_ratio.py", "--dataset", "CIFAR10"), "late_2_25.json")


# --- what a filter costs --------------------------------------------------------------------------


def fixed_macs(name: str, widths: list[int], built: list[int], image_size: int) -> int:
    """Those of a network with a convolution in every shortcut, without the shortcuts that ``built``
    has as identities."""
    macs, size = count_macs(name, widths, image_size=image_size, convcut=True), image_size
    for inp, out, stride in BUILT_IN[name].shortcuts(image_size):
        size //= stride
        if stride == 1 and built[inp] == built[out]:
            macs -= widths[inp] * widths[out] * size**2
    return macs


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("name", MODELS)
def test_what_a_filter_costs_is_what_the_network_saves_without_it(name, image_size):
    """Also where widths part or meet that were equal or not when the network was built."""
    rng, parted = np.random.default_rng(2), 0
    for _ in range(30):
        built = random_filters(name, rng)
        widths = [int(rng.integers(2, width + 2)) for width in built]
        parted += count_macs(name, widths, image_size=image_size) != fixed_macs(
            name, widths, built, image_size
        )
        before, found = (
            fixed_macs(name, widths, built, image_size),
            macs_per_filter(name, built, image_size=image_size)(widths),
        )
        without = [
            [width - (at == layer) for at, width in enumerate(widths)]
            for layer in range(len(widths))
        ]
        assert found == [before - fixed_macs(name, fewer, built, image_size) for fewer in without]
        assert min(found) > 0 and all(type(macs) is int for macs in found)
    assert parted > 20 if BUILT_IN[name].residual else parted == 0


@pytest.mark.parametrize("name", MODELS)
def test_what_a_filter_costs_is_measured_in_built_networks(name):
    # no two alike: a convolution in every shortcut
    built = list(range(10, 10 + 2 * len(template(name)), 2))
    widths = [width // 2 + layer % 3 for layer, width in enumerate(built)]

    def measured(filters: list[int]) -> int:
        return measured_macs(build(name, filters, convcut=True), 32)

    without = [
        [width - (at == layer) for at, width in enumerate(widths)] for layer in range(len(widths))
    ]
    assert macs_per_filter(name, built)(widths) == [
        measured(widths) - measured(fewer) for fewer in without
    ]


def test_the_last_filter_of_a_layer_costs_what_is_left_of_the_network():
    """vgg without a filter in its first layer: no convolution behind it has an input."""
    first, second, *_ = macs_per_filter("vgg", template("vgg"))([1] * 8)
    assert (first, second) == (3 * 9 * 32**2 + 9 * 16**2, 9 * 16**2 + 9 * 8**2)


# --- searches -------------------------------------------------------------------------------------

BY_MACS = [*SEARCH, "--iterations", 2, "--budget", "macs"]


def search(name: str, *options) -> dict:
    succeed("architecture_descent.py", "--save", name, *SEARCH, "--iterations", 2, *options)
    return json.loads(Path(f"prune_record/{name}.json").read_text())


def rows_of(name: str, iteration: int) -> np.ndarray:
    return np.loadtxt(f"prune_record/{name}_{iteration}.csv", delimiter=",", ndmin=2).astype(int)


def assert_fitted(name: str, record: dict, budget: str) -> None:
    """Its laws are those of its rows and their cost; its second network is that of the first law,
    at the first one's cost."""
    for iteration, entry in enumerate(record["iterations"]):
        rows = rows_of(name, iteration)
        assert len(rows) == entry["rounds"]
        law = fit_power_law(rows, BUDGETS[budget]("vgg", rows.T))
        assert (law.alpha, law.beta, law.fit) == (entry["alpha"], entry["beta"], entry["fit"])
    first, second = record["iterations"]
    assert first["filters"] == uniform_filters("vgg", 0.0625)
    assert second["filters"] == prepare_filters(
        "vgg", 0.0625, scaling=PowerLaw(first["alpha"], first["beta"]), budget=budget
    )


def test_a_search_by_parameters_is_the_one_without_the_option(folder):
    usual, said = (
        json.loads(Path("prune_record/found.json").read_text()),
        search("said", "--budget", "params"),
    )
    assert lasting(usual) == lasting(said) and usual["settings"]["budget"] == "params"
    assert_fitted("found", usual, "params")


def test_a_search_by_parameters_asks_for_no_cost(folder, monkeypatch):
    monkeypatch.setattr("utils.pruning.per_cost", None)
    assert lasting(search("again")) == lasting(
        json.loads(Path("prune_record/found.json").read_text())
    )
    with pytest.raises(TypeError):
        call("architecture_descent.py", "--save", "y", *BY_MACS)


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_a_search_by_macs_prunes_fits_and_rebuilds_by_them(exponent, folder, monkeypatch):
    asked, plain = [], pruning.per_cost

    def spy(criterion, cost, widths):
        asked.append(list(cost))
        return plain(criterion, cost, widths)

    monkeypatch.setattr(pruning, "per_cost", spy)
    record = search("by_macs", "--budget", "macs", "--cost-exponent", exponent)
    assert (record["settings"]["budget"], record["settings"]["cost_exponent"]) == ("macs", exponent)
    assert_fitted("by_macs", record, "macs")
    assert asked[0] == [
        macs**exponent
        for macs in macs_per_filter("vgg", uniform_filters("vgg", 0.0625))(
            uniform_filters("vgg", 0.0625)
        )
    ]
    assert len(asked) >= sum(entry["rounds"] for entry in record["iterations"])
    same = rows_of("by_macs", 0).tolist() == rows_of("found", 0).tolist()
    assert same == (exponent == 0)  # then every filter costs 1


def test_by_macs_a_round_may_count_the_cost_of_its_end(folder, monkeypatch):
    asked, plain = [], pruning.per_cost

    def spy(criterion, cost, widths):
        asked.append(list(cost))
        return plain(criterion, cost, widths)

    monkeypatch.setattr(pruning, "per_cost", spy)
    record = search("at_end", "--budget", "macs", "--cost-at", "end")
    assert record["settings"]["cost_at"] == "end"
    assert_fitted("at_end", record, "macs")
    first, again = asked[:2]  # of the whole network, and of what it would be
    assert first == macs_per_filter("vgg", uniform_filters("vgg", 0.0625))(
        uniform_filters("vgg", 0.0625)
    )
    assert again != first and all(then <= now for then, now in zip(again, first))


@pytest.mark.parametrize("part", [0.5, 0.75, 1e-9])
def test_a_law_may_be_fitted_to_the_first_rows(part, folder):
    record = search("first_rows", "--fit-rows", part)
    for iteration, entry in enumerate(record["iterations"]):
        rows = rows_of("first_rows", iteration)
        assert len(rows) == entry["rounds"] and (len(rows) > 6 or iteration)  # all are recorded
        rows = rows[: max(6, math.ceil(part * len(rows)))]
        law = fit_power_law(rows, count_params("vgg", rows.T))
        assert (law.alpha, law.beta) == (entry["alpha"], entry["beta"])
    whole = json.loads(Path("prune_record/found.json").read_text())["iterations"]
    assert (
        rows_of("first_rows", 0).tolist() == rows_of("found", 0).tolist()
        and record["iterations"][0]["alpha"] != whole[0]["alpha"]
    )


def test_a_morph_search_by_macs_is_swept_by_them(folder):
    succeed(
        "architecture_descent.py", "--save", "morph_macs", *SEARCH, "--morph", "--budget", "macs"
    )
    succeed(
        "ratio_swipe.py",
        "--save",
        "run",
        "--morph",
        "--prune-fname",
        "morph_macs",
        "--ratios",
        RATIO,
        *ONCE,
    )
    found = read_result(Path("saved_plots/vgg/run_12.json"))
    assert found["budget"] == "macs" and found["macs"] <= count_macs(
        "vgg", uniform_filters("vgg", RATIO)
    )
    assert found["filters"] == prepare_filters(
        "vgg", RATIO, pruned_filters=last_row("morph_macs"), budget="macs"
    )


def test_sweeps_lists_and_plots_take_the_budget_from_the_search_itself(folder):
    search("by_macs", "--budget", "macs")
    succeed("ratio_swipe.py", "--save", "run", "--prune-fname", "by_macs", "--ratios", RATIO, *ONCE)
    found = read_result(Path("saved_plots/vgg/run_12.json"))
    assert (
        found["budget"] == "macs"
        and listed("by_macs")["architectures"][-1]["filters"] == found["filters"]
    )
    assert list(table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=run"))) == [
        "mine, scaled to MACs"
    ]
    succeed("plot_filters.py", "--dataset", "digits", "--prune-fname", "by_macs")
    drawn = json.loads(
        Image.open("saved_plots/vgg/digits_by_macs_residual_filters.png").text["Description"]
    )
    for iteration, axes in enumerate(drawn):
        rows, lines = rows_of("by_macs", iteration), axes["lines"]
        assert lines[0][1] == pytest.approx(count_macs("vgg", rows.T).tolist(), rel=1e-5)
        # the law, over the same range
        assert lines[1][1][0] == pytest.approx(count_macs("vgg", rows.T).min(), rel=1e-5)


def test_a_search_by_macs_killed_at_any_batch_and_resumed_ends_the_same(folder, monkeypatch):
    command, update = (
        ["architecture_descent.py", "--save", "run", *BY_MACS],
        progress.Progress.update,
    )
    succeed(*command)
    undisturbed = everything(folder)
    for path in [*Path("prune_record").glob("run*"), *Path("saved_models/vgg").glob("run*")]:
        path.unlink()
    before, batches, deaths = snapshot(folder), 0, 0

    def update_and_die(self, numbers):
        nonlocal batches
        batches += 1
        if batches == 3 + 4 * deaths % 7:  # an epoch has 5
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, numbers)

    def prepare():
        monkeypatch.setattr(progress.Progress, "update", update_and_die)

    while status := wait_for(fork(*command, "--resume", prepare=prepare)):
        assert status == -signal.SIGKILL and deaths < 40
        deaths += 1
        if deaths == 4:  # with a checkpoint there
            assert snapshot(folder) != before
            assert_refused(
                call(*command, "--resume", "--cost-exponent", 0.5),
                "run",
                "begun with cost_exponent = 1.0, not 0.5",
            )
            assert_refused(
                call(*command, "--resume", "--budget", "params"),
                "run",
                "begun with budget = macs, not params",
            )
    assert deaths >= 4 and everything(folder) == undisturbed
