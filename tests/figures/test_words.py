"""What a comparison says in words: worked out by hand."""

import math

from utils.figures.curves import Curve, Point
from utils.figures.words import in_words, standard_error


def curve(
    label: str, accuracies: dict[float, list[float]], method="neuralscale_1", **more
) -> Curve:
    points = {
        ratio: Point((1,), params=int(1000 * ratio), macs=1, accuracy=list(seeds))
        for ratio, seeds in accuracies.items()
    }
    return Curve(label, method, published=more.pop("published", False), points=points, **more)


UNIFORM = curve("uniform", {1: [50.0, 52.0], 2: [60.0, 62.0]}, "uniform")  # means 51 and 61


def said(other: Curve, reference: Curve = UNIFORM) -> list[str]:
    return list(in_words([reference, other], [reference, reference], "params"))


def test_a_gap_is_the_mean_of_all_sizes_with_its_standard_error():
    found = curve("ours", {1: [56.0, 58.0], 2: [64.0, 66.0]})  # 6 and 4 above
    # Each pair has the variance 2; a gap at one size has 2/2 + 2/2, the mean of two a half of that.
    assert standard_error(found, [1, 2], UNIFORM) == math.sqrt(2 * (1 / 4 + 1 / 4))
    assert said(found) == [
        "ours: 5.00 points above uniform scaling at equal parameters (mean of 2 sizes), more than "
        "seeds explain (standard error 1.00)"
    ]


def test_less_is_said_whichever_way_it_falls():
    assert said(curve("ours", {1: [48.0, 52.0]})) == [
        "ours: 1.00 points below uniform scaling at equal parameters (mean of 1 size), no more "
        "than seeds may explain (standard error 2.00)"
    ]


def test_one_seed_rules_nothing_out():
    lone = curve("uniform", {1: [50.0], 2: [60.0]}, "uniform")
    assert said(curve("ours", {1: [58.0]}), lone) == [
        "ours: 8.00 points above uniform scaling at equal parameters (mean of 1 size); one seed, "
        "so chance is not ruled out"
    ]


def test_nothing_is_said_of_published_networks_nor_of_what_no_uniform_network_reaches():
    assert said(curve("theirs", {1: [90.0]}, published=True)) == []
    assert (
        said(curve("ours", {1: [90.0]}), curve("u", {1: [50.0]}, "uniform", published=True)) == []
    )
    assert said(curve("ours", {5: [90.0]})) == []
