"""Sizes as people say them, 25%, 300k, 50M: what they are, and what is done with them everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from results import result as result_of
from results import write_result
from running import ONCE, assert_refused, call, everything, snapshot, succeed

from model import BUDGETS, MODELS, prepare_filters, template, uniform_filters, widths_of
from model.errors import OverBudget
from utils.errors import UserError
from utils.powerlaw import PowerLaw
from utils.records.method import Method
from utils.records.paths import SIZES, result_file, size_slug
from utils.settings import Limit, Networks, NetworkSize, Target
from utils.settings.experiment import Experiment
from utils.settings.target import check_target, is_size, size_order, size_shown, size_told

QUARTER = Limit(Target.parse("25%"), "macs")


def law_of(name: str) -> PowerLaw:
    """A law of unequal growth, which gives the template's widths at a tau of a million."""
    beta = np.linspace(0.3, 0.7, len(template(name)))
    return PowerLaw((np.array(template(name)) / 1e6**beta).tolist(), beta.tolist())


# --- what a target is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, whole, amount",
    [
        ("25%", 1003, 250),
        ("2.5%", 1000, 25),
        ("100%", 7, 7),
        ("300k", 1, 300_000),
        ("1.2G", 1, 1_200_000_000),
        ("0.25M", 1, 250_000),
        ("12345", 1, 12345),
    ],
)
def test_a_target_is_a_number_of_parameters_or_macs(text, whole, amount):
    assert Target.parse(text).amount(whole) == amount


@pytest.mark.parametrize(
    "text",
    [
        "0%",
        "-5%",
        "-5M",
        "1e400",
        "3 filters",
        "",
        "%",
        "M",
        "nan",
        "inf%",
        "0",
        "0.0001k",
        "25 %x",
    ],
)
def test_what_is_no_target_is_refused(text):
    with pytest.raises(UserError):
        Target.parse(text)


@pytest.mark.parametrize("text, right", [("300K", "300k"), ("50m", "50M"), ("1g", "1G")])
def test_another_case_is_what_is_meant(text, right):
    with pytest.raises(UserError, match=f"is it {right}$"):
        Target.parse(text)


def test_targets_are_stored_and_named_in_one_way():
    assert [check_target(text) for text in ("025.0%", "50.0M", "100%")] == ["25%", "50M", "100%"]
    assert result_file("p", "vgg", "n_0", QUARTER).as_posix() == "p/vgg/n_0_25pct-macs.json"
    assert size_slug(Limit(Target.parse("2.5M"), "params")) == "2.5M-params"
    assert size_told(QUARTER) == "target 25% of the MACs" and size_shown(QUARTER) == "25%-macs"
    assert (size_slug(0.25), size_told(0.25), size_shown(0.25)) == ("25", "ratio 0.25", "0.25")


def test_sizes_are_in_order_and_told_apart():
    sizes = [
        QUARTER,
        Limit(Target.parse("2M"), "macs"),
        0.5,
        Limit(Target.parse("300k"), "macs"),
        2,
    ]
    assert [size_shown(size) for size in sorted(sizes, key=size_order)] == [
        "0.5",
        "2",
        "300k-macs",
        "2M-macs",
        "25%-macs",
    ]
    assert is_size(QUARTER, QUARTER.target) and is_size(0.5, 0.5) and is_size(0.5, None)
    assert not is_size(QUARTER, 0.5) and not is_size(0.25, QUARTER.target)


def test_names_of_results_are_ratios_or_targets():
    import re

    assert all(
        re.fullmatch(SIZES, name)
        for name in ("25", "25pct-macs", "2.5pct-params", "50M-params", "300000-macs")
    )
    assert not any(re.fullmatch(SIZES, name) for name in ("25pct", "x", "50M", "25-kilos", "-macs"))


# --- the widths of an amount ----------------------------------------------------------------------


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_an_amount_is_what_a_ratio_is_at_its_budget(name, budget):
    for ratio in (0.25, 0.7):
        amount = BUDGETS[budget](name, uniform_filters(name, ratio))
        for kind in ({"scaling": law_of(name)}, {"pruned_filters": template(name)}):
            assert prepare_filters(name, amount=amount, budget=budget, **kind) == prepare_filters(
                name, ratio, budget=budget, **kind
            )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_a_uniform_network_is_the_largest_within_an_amount(name, budget):
    cost, full = BUDGETS[budget], np.array(template(name))
    factors = np.unique(np.concatenate([np.arange(1, width + 1) / width for width in {*full}]))
    family = np.maximum(1, np.floor(full[:, None] * factors + 1e-9).astype(int))
    costs = cost(name, family)
    for part in (0.03, 0.25, 0.9):
        amount = int(part * cost(name, template(name)))
        widths = prepare_filters(name, amount=amount, budget=budget)
        assert cost(name, widths) <= amount
        assert widths == family[:, np.flatnonzero(costs <= amount)[-1]].tolist()


@pytest.mark.parametrize("convcut", [False, True])
def test_an_amount_is_never_exceeded(convcut):
    for name in MODELS:
        for amount in (400_000, 1_234_567):
            widths = prepare_filters(name, amount=amount, scaling=law_of(name), convcut=convcut)
            assert BUDGETS["params"](name, widths, convcut=convcut) <= amount
            wider = [width + 1 for width in widths]
            assert BUDGETS["params"](name, wider, convcut=convcut) > amount


def test_an_amount_leaves_what_is_kept_and_the_fewest_filters():
    kept = widths_of("vgg", ["features.0"])
    widths = prepare_filters(
        "vgg", amount=300_000, scaling=law_of("vgg"), min_width=40, keep=["features.0"], round_to=8
    )
    assert BUDGETS["params"]("vgg", widths) <= 300_000
    assert all(widths[layer] == template("vgg")[layer] for layer in kept) and min(widths) >= 40
    assert all(width % 8 == 0 for layer, width in enumerate(widths) if layer not in kept)
    with pytest.raises(OverBudget):
        prepare_filters("vgg", amount=100_000, min_width=60)


@pytest.mark.parametrize("amount", [0, -3, 2.5, True, "25%", float("nan")])
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(ValueError, match="positive whole number"):
        prepare_filters("vgg", amount=amount)


def test_a_ratio_or_an_amount_is_given():
    for given in ({}, {"ratio": 0.5, "amount": 10**6}):
        with pytest.raises(ValueError, match="ratio or an amount"):
            prepare_filters("vgg", **given)


def test_a_part_is_of_the_template_with_its_shortcuts():
    shape = {"num_classes": 10, "image_size": 32}
    cut = Method("convcut", "resnet18", convcut=True, budget="macs")
    whole = BUDGETS["macs"]("resnet18", template("resnet18"), convcut=True)
    assert cut.amount(QUARTER, **shape) == whole // 4
    widths = cut.filters(QUARTER, **shape)
    assert BUDGETS["macs"]("resnet18", widths, convcut=True) <= whole // 4
    assert cut.ratio(QUARTER, **shape) == pytest.approx(0.5, abs=1e-5)


# --- the options ----------------------------------------------------------------------------------


def test_a_ratio_and_a_target_are_not_given_at_once():
    for settings, ratio in (
        (Networks(), "ratios"),
        (NetworkSize(), "ratio"),
        (Experiment(), "ratios"),
    ):
        with pytest.raises(UserError, match=f"--target and --{ratio}"):
            settings.with_overrides({"target": ("25%",), ratio: (0.5,)})


@pytest.mark.parametrize("targets", [("25%", "25.0%"), ("300k", "0.3M"), ()])
def test_targets_are_each_there_once(targets):
    with pytest.raises(UserError, match="--target"):
        Networks(uniform=True, target=targets)


@pytest.mark.parametrize("target", ["0%", "1e400", "3 filters", "2k", "-5M", "300K"])
def test_absurd_targets_are_refused_in_a_line(here, target):
    before = snapshot(here)
    outcome = call("ratio_swipe.py", "--uniform", "--save", "u", f"--target={target}", *ONCE)
    assert_refused(outcome)
    assert not any(everything(here)) or snapshot(here) == before


def test_fine_tuning_to_more_than_there_is_is_refused(here):
    succeed("train_norm.py", "--save", "base", "--ratio", 0.125, *ONCE)
    outcome = call(
        "fine_tune.py", "--save", "t_0", "--prune-fname", "base", "--target", "700%", *ONCE
    )
    assert_refused(outcome, "--target 700% of the MACs", "nothing to prune")


# --- the scripts ----------------------------------------------------------------------------------


def test_a_sweep_over_targets_is_stored_skipped_drawn_and_exported(here):
    sweep = ["ratio_swipe.py", "--uniform", "--save", "u_0", *ONCE]
    out = succeed(*sweep, "--target", "2%", "300k")
    assert "target 2% of the MACs, uniform" in out
    part, many = result_of("u_0_2pct-macs"), result_of("u_0_300k-macs")
    assert (part["target"], part["budget"], many["target"]) == ("2%", "macs", "300k")
    whole = BUDGETS["macs"]("vgg", template("vgg"))
    assert part["macs"] <= 0.02 * whole and many["macs"] <= 300_000
    assert part["ratio"] == pytest.approx(0.02**0.5, abs=1e-5)

    # In the other unit it is another result; by ratio nothing says a target.
    succeed(*sweep, "--target", "2%", "--budget", "params")
    assert result_of("u_0_2pct-params")["params"] <= 0.02 * BUDGETS["params"](
        "vgg", template("vgg")
    )
    succeed(*sweep, "--ratios", 0.0625)
    assert "target" not in result_of("u_0_6") and result_of("u_0_6")["ratio"] == 0.0625

    # Finished work is left as it is, other work refused.
    before = snapshot(here / "saved_plots")
    assert succeed(*sweep, "--target", "2.0%", "300k").count("finished before") == 2
    assert_refused(call(*sweep, "--target", "2%", "--lr", 0.2), "lr")
    assert snapshot(here / "saved_plots") == before

    out = succeed("plot_ratio.py", "--dataset", "digits", "--runs", "a=u", "--no-published")
    assert [line.split("  ")[0] for line in out.splitlines()].count("a") >= 4
    for shown in ("2%-macs", "300k-macs", "2%-params", "0.0625"):
        assert shown in out
    assert "u_training.png" in succeed("plot_training.py", "u")
    out = succeed(
        "plot_ratio_finetune.py", "--dataset", "digits", "--runs", "a=u", "--target", "2%"
    )
    assert "300k" not in out and "2%-macs" in out and "2%-params" in out
    assert_refused(
        call("export.py", "--dataset", "digits", "--save", "u_0", "--target", "2%"), "--budget"
    )
    out = succeed("export.py", "--dataset", "digits", "--save", "u_0", "--target", "300k")
    assert "exported/vgg/u_0_300k-macs" in out
    about = json.loads(Path("exported/vgg/u_0_300k-macs/architecture.json").read_text())
    assert about["target"] == "300k" and about["filters"] == many["filters"]


def test_a_list_scales_to_targets_in_the_unit_of_the_search():
    shown = ["list_architecture.py", "--dataset", "CIFAR10", "--prune-fname", "published"]
    told = json.loads(succeed(*shown, "--target", "25%", "1M", "--json"))
    assert told["budget"] == "params"
    whole = BUDGETS["params"]("vgg", template("vgg"))
    for row in told["architectures"]:
        assert (
            row["params"]
            <= (whole // 4 if row["target"] == "25%" else 10**6)
            < row["params"] * 1.01
        )
    told = json.loads(succeed(*shown, "--target", "25%", "--budget", "macs", "--json"))
    assert all(
        row["macs"] <= BUDGETS["macs"]("vgg", template("vgg")) // 4 for row in told["architectures"]
    )
    assert "25%-params" in succeed(*shown, "--target", "25%")


def test_a_pruned_network_is_within_its_target(here):
    succeed("train_norm.py", "--save", "base", "--ratio", 0.25, *ONCE)
    tune = ["fine_tune.py", "--save", "t_0", "--prune-fname", "base", *ONCE]
    succeed(*tune, "--target", "2%")
    result = result_of("t_0_2pct-macs")
    assert result["macs"] <= 0.02 * BUDGETS["macs"]("vgg", template("vgg"))
    assert result["budget"] == "macs" and Path("saved_models/vgg/t_0@2pct-macs.pt").exists()


def test_an_experiment_takes_targets_in_one_unit(here):
    given = [
        "submit.py", "--dataset", "digits", "--methods", "uniform", "magnitude", "--seeds", 0,
        "--target", "2%", "--name", "e", "--base-ratio", 0.25, "--limit-train", 100,
        "--limit-test", 50, "--train-with", "epochs=1", "batch-size=50",
        "--tune-with", "epochs=1", "batch-size=50",
    ]  # fmt: skip
    planned = succeed(*given, "--dry-run")
    assert planned.count("--target 2% --budget macs") == 2
    for line in planned.splitlines():
        script, *options = line.split()[1:]
        succeed(script, *options)
    out = succeed(*given, "--status")
    assert "3 jobs: 3 finished" in out and "e_uniform_0@2pct-macs" in out and "2%-macs" in out


def test_an_experiment_by_a_search_has_its_unit(here):
    given = ["submit.py", "--dataset", "digits", "--search", "s", "--target", "2%", "--dry-run"]
    assert succeed(*given).count("--target 2% --budget params") == 10
    assert succeed(*given, "--search-with", "budget=macs").count("--target 2% --budget macs") == 10


def test_a_damaged_target_is_refused(here):
    write_result("u_0", 50.0, target=25)
    assert_refused(call("plot_training.py", "u"), "damaged")
