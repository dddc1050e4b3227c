"""The picture of what accuracy costs: its numbers, the best network of each budget, the user's runs
among the published."""

from pathlib import Path

import numpy as np
import pytest
from paper import pairs
from pictures import assert_is_a_picture, drawn, parts, table
from results import shape_of, write_result
from running import assert_refused, call, succeed

from model import BUDGETS, count_macs, count_params, uniform_filters
from utils.figures.curves import Curve, Point, subject_of
from utils.figures.front import LARGEST, SMALLEST, best_within, front_of

pytestmark = pytest.mark.usefixtures("here")


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pairs
def test_the_best_network_of_each_budget_is_named_and_is_in_the_table(model, dataset):
    text, tables = parts(
        succeed(
            "plot_ratio.py", "--model", model, "--dataset", dataset, "--front", "--out", "front.png"
        )
    )
    rows = [
        (label, ratio, at) for label, points in table(text).items() for ratio, at in points.items()
    ]
    ratios = sorted({ratio for _, ratio, _ in rows})
    assert_is_a_picture(Path("front.png"))
    for unit, column, scale in (("macs", "MMACs", 1e6), ("params", "parameters", 1)):
        for ratio in ratios:
            amount = (
                BUDGETS[unit](model, uniform_filters(model, ratio), **shape_of(dataset)) / scale
            )
            within = [
                row
                for row in rows
                if number(row[2][column]) <= amount + (0.05 if unit == "macs" else 0)
            ]
            best = max(float(at["mean"]) for *_, at in within)
            told = tables[unit][ratio]
            assert number(told[0]) == pytest.approx(amount, abs=0.05) and float(told[5]) == best
            [own] = [at for label, of, at in rows if (label, of) == (told[1], float(told[2]))]
            assert (own["parameters"], own["MMACs"], own["mean"]) == told[3:]
        assert sorted(tables[unit]) == ratios


@pairs
def test_the_picture_shows_every_network_at_its_macs_with_its_parameters_as_the_area(
    model, dataset
):
    text, _ = parts(
        succeed(
            "plot_ratio.py", "--model", model, "--dataset", dataset, "--front", "--out", "front.png"
        )
    )
    [axes] = drawn("front.png")
    (_, front_macs, front_means), *lines = axes["lines"]
    curves = table(text)
    assert [label for label, *_ in lines] == list(curves)
    largest = max(number(at["parameters"]) for points in curves.values() for at in points.values())
    for (label, macs, means), sizes in zip(lines, axes["sizes"], strict=True):
        points = list(curves[label].values())
        assert [m / 1e6 for m in macs] == pytest.approx(
            [number(at["MMACs"]) for at in points], abs=0.06
        )
        assert means == pytest.approx([float(at["mean"]) for at in points])
        assert sizes == pytest.approx(
            [max(SMALLEST, LARGEST * number(at["parameters"]) / largest) for at in points], rel=1e-4
        )
    assert front_macs == sorted(front_macs) and front_means == sorted(set(front_means))
    for _, macs, means in lines:  # nothing is above the front
        for at, mean in zip(macs, means):
            assert max(m for f, m in zip(front_macs, front_means) if f <= at) >= mean


def curve(label: str, *points: tuple[float, int, int, float]) -> Curve:
    return Curve(
        label,
        "",
        False,
        points={ratio: Point((), params, macs, [mean]) for ratio, params, macs, mean in points},
    )


def test_of_equal_accuracy_the_cheaper_one_is_best_and_a_budget_that_nothing_meets_has_none():
    shape = shape_of("digits")
    params, macs = (
        count("vgg", uniform_filters("vgg", 0.25), **shape) for count in (count_params, count_macs)
    )
    few, many = (
        curve("few", (0.25, params, macs - 1, 50.0)),
        curve("many", (0.25, params - 1, macs, 50.0)),
    )
    dear = curve("dear", (0.125, 10 * params, 10 * macs, 90.0))
    subject = subject_of("vgg", "digits")
    found = {
        unit: [
            (best.size, best.curve.label) for best in best_within([many, few, dear], subject, unit)
        ]
        for unit in BUDGETS
    }
    assert found == {"macs": [(0.25, "few")], "params": [(0.25, "many")]}
    assert [
        point.mean
        for point in front_of([point for one in (many, few, dear) for point in one.points.values()])
    ] == [50, 90]
    assert best_within([dear], subject, "macs") == []


def test_the_users_runs_are_on_it_too_and_unlike_ones_are_told_apart():
    filters = uniform_filters("vgg", 0.2)
    write_result(
        "mine_0",
        99.0,
        dataset="CIFAR10",
        filters=filters,
        method="neuralscale_15",
        budget="macs",
        round_to=8,
    )
    out = succeed("plot_ratio.py", "--dataset", "CIFAR10", "--front", "--runs", "mine=mine")
    label = "mine, scaled to MACs, widths multiples of 8"
    assert all(row[1] == label for row in parts(out)[1]["macs"].values())
    assert label in [line[0] for line in drawn("saved_plots/vgg/CIFAR10_front.png")[0]["lines"]]


def test_the_tables_gap_is_at_the_axis_asked_for():
    for axis, words in (("params", "equal parameters"), ("macs", "equal MACs")):
        assert words in succeed(
            "plot_ratio.py", "--dataset", "CIFAR10", "--front", "--axis", axis, "--out", "front.png"
        )
    write_result("a_0", 50.0, ratio=0.0625)
    out = succeed(
        "plot_ratio.py",
        "--dataset",
        "digits",
        "--runs",
        "a=a",
        "--front",
        "--axis",
        "latency",
        "--device",
        "cpu",
    )
    assert "latency of 100 images" in out


def test_nothing_to_draw_is_one_line():
    assert_refused(call("plot_ratio.py", "--dataset", "digits", "--front"), "nothing to draw")


@pytest.mark.parametrize("largest", [1, 1.9, 37e6, 199_354])
def test_sizes_in_the_legend_are_round_and_rise(largest):
    from utils.figures.style import round_numbers

    small, middle, large = round_numbers(largest)
    assert small < middle < large <= largest and large > 0.4 * largest
    assert all(
        f"{n:.0e}"[0] in "125" and np.isclose(n, float(f"{n:.0e}")) for n in (small, middle, large)
    )
