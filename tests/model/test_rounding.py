"""Widths that are multiples of a number: within the budget, close to it, no single layer could come
closer; what sweeps say of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import table
from results import write_result
from running import ONCE, assert_refused, call, succeed

from model import BUDGETS, MODELS, prepare_filters, template, uniform_filters
from model.rounding import round_widths
from utils.powerlaw import PowerLaw
from utils.records.files import read_json
from utils.records.methods import method_of
from utils.records.paths import PUBLISHED_DIR
from utils.records.results import read_result
from utils.settings import Networks, dataset_facts

LAWS = read_json(PUBLISHED_DIR / "scaling.json")
budgets = pytest.mark.parametrize("budget", BUDGETS)


pytestmark = pytest.mark.usefixtures("here")


def cost_of(budget: str, name: str, filters, **shape) -> int:
    return int(BUDGETS[budget](name, filters, **shape))


def closer_by_one_step(
    name: str, widths: list[int], multiple: int, budget: str, amount: int, **shape
) -> list[list[int]]:
    """The networks that differ by one step of one layer and are closer to the budget, from
    below."""
    moved = [
        [width + step * (at == layer) for at, width in enumerate(widths)]
        for layer in range(len(widths))
        for step in (multiple, -multiple)
    ]
    own = cost_of(budget, name, widths, **shape)
    return [
        other
        for other in moved
        if min(other) > 0 and own < cost_of(budget, name, other, **shape) <= amount
    ]


@budgets
@pytest.mark.parametrize(
    "entry", LAWS, ids=lambda entry: f"{entry['model']}-{entry['dataset']}-{entry['warmup']}"
)
def test_every_published_law_is_rounded_within_two_percent_of_its_budget(entry, budget):
    name, facts = entry["model"], dataset_facts(entry["dataset"])
    shape = {"num_classes": facts.num_classes, "image_size": facts.image_size}
    for number, iteration in [*enumerate(entry["iterations"])][::-3]:
        for ratio in (0.25, (0.5, 0.75, 1, 2)[number % 4]):
            amount, law = (
                cost_of(budget, name, uniform_filters(name, ratio), **shape),
                PowerLaw(iteration["alpha"], iteration["beta"]),
            )
            # none are small enough
            if (name, entry["dataset"], budget, ratio) == (
                "mobilenetv2",
                "tinyimagenet",
                "macs",
                0.25,
            ):
                with pytest.raises(ValueError, match="cost 7,127,616, the budget is 6,187,136"):
                    prepare_filters(name, ratio, scaling=law, budget=budget, round_to=8, **shape)
                continue
            widths = prepare_filters(name, ratio, scaling=law, budget=budget, round_to=8, **shape)
            assert all(width % 8 == 0 and width > 0 for width in widths)
            assert 0.98 * amount <= cost_of(budget, name, widths, **shape) <= amount
            if number == len(entry["iterations"]) - 1:
                assert closer_by_one_step(name, widths, 8, budget, amount, **shape) == []


@budgets
@pytest.mark.parametrize(
    "entry",
    [entry for entry in LAWS if entry["dataset"] == "CIFAR100"],
    ids=lambda entry: f"{entry['model']}-{entry['warmup']}",
)
def test_rounded_widths_stay_near_the_law(entry, budget):
    """Most of a layer's change is less than one step: rounding is no other shape."""
    name = entry["model"]
    law = PowerLaw(entry["iterations"][-1]["alpha"], entry["iterations"][-1]["beta"])
    for ratio in (0.5, 1, 2):
        before, after = (
            np.array(prepare_filters(name, ratio, scaling=law, budget=budget, round_to=n))
            for n in (1, 8)
        )
        wide = before >= 16
        assert (
            np.abs(after - before)[wide].mean() < 8
            and np.abs(np.log(after / before))[wide].max() < 1
        )


@settings(max_examples=25, deadline=None)
@given(
    st.data(),
    st.sampled_from(sorted(MODELS)),
    st.sampled_from(sorted(BUDGETS)),
    st.sampled_from([2, 3, 8, 16]),
)
def test_any_shape_is_rounded_to_a_local_optimum_within_the_budget_or_refused(
    data, name, budget, multiple
):
    shape = data.draw(
        st.lists(st.integers(1, 400), min_size=len(template(name)), max_size=len(template(name)))
    )
    ratio = data.draw(st.floats(0.1, 2))
    amount = cost_of(budget, name, uniform_filters(name, ratio))
    try:
        widths = prepare_filters(
            name, ratio, pruned_filters=shape, budget=budget, round_to=multiple
        )
    except ValueError as error:
        assert "multiples" in str(error) and cost_of(budget, name, [multiple] * len(shape)) > amount
        return
    assert all(width > 0 and width % multiple == 0 and type(width) is int for width in widths)
    assert cost_of(budget, name, widths) <= amount
    assert closer_by_one_step(name, widths, multiple, budget, amount) == []


def test_the_closest_single_moves_are_taken_until_none_is_left():
    """Two layers that cost 3 and 1 a filter, 22 in all: (3, 3) cost 12, then 12 + 2 * 3, then one
    more of the other."""

    def cost(widths):
        return 3 * widths[0] + widths[1]

    [first, second] = round_widths([3, 3], 2, 22, cost)
    assert 3 * first + second == 22 and first % 2 == second % 2 == 0
    with pytest.raises(ValueError, match="2 filters in every layer cost 8, the budget is 7"):
        round_widths([3, 3], 2, 7, cost)


@pytest.mark.parametrize("wrong", [0, -8])
def test_multiples_of_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"multiples of {wrong}"):
        prepare_filters("vgg", 0.5, round_to=wrong)


def test_unrounded_is_the_default_and_changes_nothing():
    for name in MODELS:
        assert (
            prepare_filters(name, 0.3)
            == prepare_filters(name, 0.3, round_to=1)
            == uniform_filters(name, 0.3)
        )


# --- sweeps, lists and curves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "networks", [Networks(morph=True), Networks(prune_fname="published"), Networks(uniform=True)]
)
@budgets
def test_every_method_gives_rounded_networks(networks, budget):
    method = method_of(replace(networks, round_to=8, budget=budget), "vgg", "CIFAR10", "")
    widths, amount = (
        method.filters(0.25, num_classes=10, image_size=32),
        cost_of(budget, "vgg", uniform_filters("vgg", 0.25)),
    )
    assert (
        not any(width % 8 for width in widths)
        and 0.98 * amount <= cost_of(budget, "vgg", widths) <= amount
    )
    assert method.unrounded() == method_of(replace(networks, budget=budget), "vgg", "CIFAR10", "")


def test_a_sweep_trains_rounded_networks_and_says_what_it_costs_and_gains():
    command = ["ratio_swipe.py", "--uniform", "--ratios", 0.2, *ONCE, "--save"]
    out = succeed(*command, "rounded_0", "--round-to", 8)
    result, amount = (
        read_result(Path("saved_plots/vgg/rounded_0_20.json")),
        cost_of("params", "vgg", uniform_filters("vgg", 0.2)),
    )
    assert result["round_to"] == 8 and result["filters"] == prepare_filters(
        "vgg", 0.2, round_to=8
    ) != uniform_filters("vgg", 0.2)
    [line] = [line for line in out.splitlines() if "rounded to multiples of 8" in line]
    assert (
        f"{result['params'] / amount:.2%} of the budget, unrounded 100.00%" in line
        and line.count(" ms ") == 1
        and "cpu" in line
    )
    again = succeed(*command, "rounded_0", "--round-to", 8)
    assert "finished before" in again and " ms " not in again  # nothing is measured for it
    assert_refused(
        call(*command, "rounded_0"), "rounded_0_20.json", "begun with round_to = 8, not 1"
    )
    assert "multiples" not in succeed(*command, "usual_0")


def test_a_budget_that_no_multiples_are_within_is_one_line():
    for command in (
        ["ratio_swipe.py", "--save", "x", "--uniform", *ONCE],
        ["list_architecture.py", "--prune-fname", "published"],
    ):
        ratios = "--ratios", 0.0625
        assert_refused(
            call(*command, *ratios, "--round-to", 64),
            "--round-to 64",
            "ratio 0.0625",
            "smaller --round-to",
        )
    assert not Path("saved_plots/vgg").is_dir() or not any(Path("saved_plots/vgg").glob("*.json"))


@pytest.mark.parametrize("value", [0, -8, 1.5, "eight", 2000])
def test_what_is_no_multiple_is_refused(value):
    assert_refused(
        call("ratio_swipe.py", "--save", "x", "--uniform", *ONCE, "--round-to", value), "--round-to"
    )


@budgets
def test_a_list_is_of_the_rounded_networks(budget):
    command = [
        "list_architecture.py",
        "--dataset",
        "CIFAR10",
        "--prune-fname",
        "published",
        "--ratios",
        0.125,
        "--budget",
        budget,
    ]
    usual, rounded = (
        json.loads(succeed(*command, "--json", *more)) for more in ([], ["--round-to", 8])
    )
    assert (usual["round_to"], rounded["round_to"]) == (1, 8)
    amount = cost_of(budget, "vgg", uniform_filters("vgg", 0.125))
    for row in rounded["architectures"]:
        assert (
            not any(width % 8 for width in row["filters"]) and 0.9 * amount < row[budget] <= amount
        )
    out = succeed(*command, "--round-to", 8)
    last, before = rounded["architectures"][-1], usual["architectures"][-1]
    assert (
        f"{last[budget] / amount:.2%} of the budget, unrounded {before[budget] / amount:.2%}" in out
        and out.count(" ms ") == 1
    )
    assert "widths multiples of 8" in out and "multiples" not in succeed(*command)


def test_curves_of_rounded_networks_say_so_and_are_not_mixed_with_others():
    write_result("w_0", 51.0, round_to=8)
    assert list(table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"))) == [
        "mine, widths multiples of 8"
    ]
    write_result("v_0", 51.0, round_to=1)
    write_result("v_1", 52.0, seed=1)  # of an earlier version
    assert (
        table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=v"))["mine"][0.25][
            "n"
        ]
        == "2"
    )
    write_result("w_1", 52.0, seed=1)
    assert_refused(
        call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"),
        "w_1_25.json",
        "w_0_25.json",
        "other round_to",
    )
    write_result("w_1", 52.0, seed=1, round_to="8")
    assert_refused(call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"), "w_1_25.json")
