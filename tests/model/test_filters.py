"""prepare_filters: the widths at the largest tau within the budget. What is claimed is checked by
another route."""

import json
import time
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paper import RATIOS
from results import shape_of
from running import REPOSITORY

from model import (
    BUDGETS,
    MODELS,
    count_macs,
    count_params,
    prepare_filters,
    template,
    uniform_filters,
)
from model.registry import network
from utils.powerlaw import PowerLaw

PUBLISHED = json.loads((REPOSITORY / "saved_plots" / "published" / "scaling.json").read_text())
MORPHNET = [  # the pruned widths that the paper's MorphNet baseline scales
    ("vgg", "CIFAR10", [64, 128, 249, 253, 268, 175, 87, 152]),
    ("vgg", "CIFAR100", [63, 125, 204, 215, 234, 174, 120, 241]),
    (
        "resnet18",
        "CIFAR100",
        [48, 46, 40, 41, 54, 91, 75, 73, 95, 157, 149, 149, 156, 232, 216, 140, 190],
    ),
    (
        "resnet18",
        "tinyimagenet",
        [82, 90, 78, 80, 96, 180, 104, 96, 194, 312, 182, 178, 376, 546, 562, 454, 294],
    ),
    (
        "mobilenetv2",
        "CIFAR100",
        [28, 16, 24, 21, 30, 31, 26, 56, 50, 49, 46, 83, 70, 58, 120, 101, 68, 134, 397],
    ),
    (
        "mobilenetv2",
        "tinyimagenet",
        [28, 16, 24, 24, 32, 32, 30, 64, 59, 50, 41, 96, 73, 48, 160, 69, 47, 155, 360],
    ),
]


budgets = pytest.mark.parametrize("budget", BUDGETS)


def budget_of(name: str, ratio: float, budget: str = "params", **shape) -> int:
    return {"params": count_params, "macs": count_macs}[budget](
        name, uniform_filters(name, ratio), **shape
    )


def check_largest(
    name: str, ratio: float, alpha, beta, found: list[int], budget: str = "params", **shape
) -> None:
    """``found`` are widths of the law, within the budget, and no tau up to a fifth above theirs
    gives any that are.

    Between two neighbouring breakpoints (the tau at which a width changes) the network is one and
    the same: trying the middle of each interval tries every network there is, and no rounding error
    near a breakpoint matters.
    """
    amount, count = (
        budget_of(name, ratio, budget, **shape),
        {"params": count_params, "macs": count_macs}[budget],
    )
    assert count(name, found, **shape) <= amount
    assert min(found) >= 1
    alpha, beta, widths = np.array(alpha, float), np.array(beta, float), np.array(found)
    # so it is for the published laws, and for one common multiplier (beta = 1)
    assert (beta > 0).all()

    def reaches(width):  # the tau from which on each layer has that width
        return (width / alpha) ** (1 / beta)

    low, high = reaches(widths)[widths > 1].max(initial=0), reaches(widths + 1).min()
    assert low < high * (1 + 1e-9), "there is no tau with these widths"
    top = 1.2 * high
    edges = [high, top]
    for layer, width in enumerate(found):
        changes = (np.arange(width + 1, alpha[layer] * top ** beta[layer] + 1) / alpha[layer]) ** (
            1 / beta[layer]
        )
        edges.extend(changes[(changes > high) & (changes < top)])
    edges = np.unique(edges)
    real = edges[1:] > edges[:-1] * (1 + 1e-11)  # equal but for rounding: no network between them
    taus = np.concatenate([np.sqrt(edges[1:] * edges[:-1])[real], top * np.geomspace(1, 100, 200)])
    larger = np.maximum(1, np.floor(alpha[:, None] * taus ** beta[:, None]))
    costs = count(name, larger, **shape)
    assert costs.min() > amount, f"tau = {taus[costs.argmin()]} fits too, {costs.min()} <= {amount}"


def check_largest_factor(
    name: str, ratio: float, shape: list[int], found: list[int], budget: str = "params", **of
) -> None:
    """``found`` is what a common factor makes of ``shape``, within the budget, and no factor up to
    a fifth above makes any that is.

    In exact arithmetic: widths change at the factors n / width, and stay as they are there up to
    the next such factor.
    """
    amount, count = budget_of(name, ratio, budget, **of), BUDGETS[budget]
    assert count(name, found, **of) <= amount
    low = max(
        (Fraction(width, whole) for width, whole in zip(found, shape) if width > 1),
        default=Fraction(0),
    )
    high = min(Fraction(width + 1, whole) for width, whole in zip(found, shape))
    assert low < high, "no factor gives these widths"
    changes = {
        Fraction(n, whole)
        for whole in shape
        for n in range(int(high * whole), int(high * whole * 6 / 5) + 2)
    }
    factors = [factor for factor in sorted(changes) if factor >= high] + [
        high * 2**power for power in range(1, 8)
    ]
    larger = np.array(
        [
            [max(1, whole * factor.numerator // factor.denominator) for factor in factors]
            for whole in shape
        ]
    )
    costs = count(name, larger, **of)
    assert costs.min() > amount, (
        f"factor {factors[costs.argmin()]} fits too, {costs.min()} <= {amount}"
    )


# --- uniform --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_uniform_widths_are_int_of_width_times_ratio_and_at_least_1(name):
    for ratio in (0.001, 0.01, 0.25, 0.29, 0.5, 0.75, 1, 1.15, 1.75, 2, 3.3):
        assert prepare_filters(name, ratio) == [
            max(1, int(width * ratio)) for width in template(name)
        ]
    assert prepare_filters(name, 1) == template(name)


def test_uniform_quarters_are_those_of_the_paper():
    assert prepare_filters("vgg", 0.25) == [16, 32, 64, 64, 128, 128, 128, 128]
    assert prepare_filters("resnet18", 0.25) == [16] * 5 + [32] * 4 + [64] * 4 + [128] * 4
    assert prepare_filters("mobilenetv2", 0.25) == [8, 4, 6, 6, 8, 8, 8] + [16] * 4 + [24] * 3 + [
        40
    ] * 3 + [80, 320]


# --- NeuralScale ----------------------------------------------------------------------------------


@budgets
@pytest.mark.parametrize(
    "entry", PUBLISHED, ids=lambda e: f"{e['model']}-{e['dataset']}-{e['warmup']}"
)
def test_published_laws_are_scaled_to_the_largest_tau_within_the_budget(entry, budget):
    name, shape = entry["model"], shape_of(entry["dataset"])
    for iteration in entry["iterations"][::-7]:
        before = [0] * len(template(name))
        for ratio in RATIOS:
            found = prepare_filters(
                name, ratio, scaling=PowerLaw(**iteration), budget=budget, **shape
            )
            check_largest(
                name, ratio, iteration["alpha"], iteration["beta"], found, budget, **shape
            )
            assert all(type(width) is int for width in found)
            # a larger budget never takes filters from a layer
            assert np.greater_equal(found, before).all()
            before = found


def test_networks_within_a_budget_use_nearly_all_of_it():
    for entry in PUBLISHED:
        shape = shape_of(entry["dataset"])
        law = PowerLaw(**entry["iterations"][-1])
        for ratio in (0.25, 1.0):
            used = count_params(
                entry["model"],
                prepare_filters(entry["model"], ratio, scaling=law, **shape),
                **shape,
            )
            assert used > 0.98 * budget_of(entry["model"], ratio, **shape)


@budgets
def test_preparing_takes_milliseconds(budget):
    prepare_filters("vgg", 1.0)  # imports
    times = []
    for entry in PUBLISHED:
        law, shape = PowerLaw(**entry["iterations"][-1]), shape_of(entry["dataset"])
        for ratio in (0.25, 1.0, 2.0):
            tries = []
            for _ in range(3):
                began = time.process_time()
                prepare_filters(entry["model"], ratio, scaling=law, budget=budget, **shape)
                tries.append(time.process_time() - began)
            times.append(min(tries))  # the fastest of three
    assert np.median(times) < 0.05


# --- one common multiplier ------------------------------------------------------------------------


@budgets
@pytest.mark.parametrize(
    ("name", "dataset", "widths"),
    MORPHNET,
    ids=[f"{name}-{dataset}" for name, dataset, _ in MORPHNET],
)
def test_morphnet_widths_are_scaled_by_the_largest_common_multiplier(name, dataset, widths, budget):
    shape = shape_of(dataset)
    for ratio in RATIOS:
        found = prepare_filters(name, ratio, pruned_filters=widths, budget=budget, **shape)
        check_largest_factor(name, ratio, widths, found, budget, **shape)
        # A fit over too few rows, beta = 0, means the same: this shape, scaled uniformly.
        assert (
            prepare_filters(
                name, ratio, scaling=PowerLaw(widths, [0.0] * len(widths)), budget=budget, **shape
            )
            == found
        )


def test_layers_whose_widths_share_a_divisor_grow_together():
    found = prepare_filters(
        "mobilenetv2", 0.75, pruned_filters=MORPHNET[5][2], **shape_of("tinyimagenet")
    )
    assert found == [34, 19, 29, 29, 39, 39, 37, 79, 73, 62, 51, 119, 91, 59, 199, 86, 58, 193, 449]


def shapes(name: str) -> st.SearchStrategy[list[int]]:
    """Of whole widths, many with a divisor in common."""

    def of(unit: int) -> st.SearchStrategy[list[int]]:
        width = st.integers(1, 40) | st.integers(1, max(1, 40 // unit)).map(
            lambda multiple: multiple * unit
        )
        return st.lists(width, min_size=len(template(name)), max_size=len(template(name)))

    return st.sampled_from([2, 3, 4, 5, 6, 8, 12]).flatmap(of)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_shapes_with_common_divisors_are_scaled_to_what_exact_arithmetic_gives(name, data):
    shape, ratio, budget = (
        data.draw(shapes(name)),
        data.draw(st.floats(0.05, 0.5)),
        data.draw(st.sampled_from([*BUDGETS])),
    )
    found = prepare_filters(name, ratio, pruned_filters=shape, budget=budget)
    check_largest_factor(name, ratio, shape, found, budget)
    for beta in (0.0, 0.7, -1.0):  # one power for all layers is one factor for all
        assert (
            prepare_filters(
                name, ratio, scaling=PowerLaw(shape, [beta] * len(shape)), budget=budget
            )
            == found
        )


def rounded_otherwise(function, direction: int):
    """``function`` of numpy, as where its last digit is another."""

    def other(x, *more, **options):
        exact = function(x, *more, **options)
        return np.nextafter(
            exact,
            direction * np.inf,
            where=(np.asarray(x) * 1e6 % 3 > 1),
            out=np.array(exact, float),
        )[()]

    return other


def test_widths_do_not_depend_on_the_last_digit_of_numpys_logarithms(monkeypatch):
    def everything() -> list[list[int]]:
        found = []
        for name, dataset, widths in MORPHNET:
            for ratio in RATIOS:
                found.append(
                    prepare_filters(name, ratio, pruned_filters=widths, **shape_of(dataset))
                )
                # not whole, so not exact
                tenth = PowerLaw([width / 10 for width in widths], [1.0] * len(widths))
                assert prepare_filters(name, ratio, scaling=tenth, **shape_of(dataset)) == found[-1]
        for entry in PUBLISHED:
            law = PowerLaw(**entry["iterations"][-1])
            found.append(
                prepare_filters(entry["model"], 0.5, scaling=law, **shape_of(entry["dataset"]))
            )
        return found

    usual = everything()
    for direction in (1, -1):
        with monkeypatch.context() as patch:
            for function in ("log", "exp"):
                patch.setattr(np, function, rounded_otherwise(getattr(np, function), direction))
            assert everything() == usual


@budgets
@pytest.mark.parametrize("name", MODELS)
def test_the_template_as_a_pruned_shape_gives_the_template_back(name, budget):
    assert prepare_filters(name, 1.0, pruned_filters=template(name), budget=budget) == template(
        name
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_shape_of_ones_grows_to_equal_widths(name):
    found = prepare_filters(name, 0.5, pruned_filters=[1] * len(template(name)))
    assert len(set(found)) == 1
    assert (
        count_params(name, found)
        <= budget_of(name, 0.5)
        < count_params(name, [width + 1 for width in found])
    )


# --- the search's extra filters -------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_search_adds_a_networks_extra_filters_to_widths_below_10(name):
    extra = network(name).search_extra
    law = PowerLaw([width / 100 for width in template(name)], [0.3] * len(template(name)))
    for options in (
        {"ratio": 0.1},
        {"ratio": 0.05, "pruned_filters": template(name)},
        {"ratio": 0.05, "scaling": law},
    ):
        plain, searched = (
            prepare_filters(name, **options),
            prepare_filters(name, **options, search=True),
        )
        assert min(plain) < 10
        assert searched == [width + extra if width < 10 else width for width in plain]


@pytest.mark.parametrize(("name", "extra"), [("vgg", 0), ("resnet18", 10), ("mobilenetv2", 10)])
def test_the_papers_searches_add_10_filters_but_for_vgg(name, extra):
    widths, searched = prepare_filters(name, 0.1), prepare_filters(name, 0.1, search=True)
    small = [more for width, more in zip(widths, searched) if width < 10]
    assert small == [width + extra for width in widths if width < 10] != []


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])  # no less than 10 before, 10 more
def test_search_adds_nothing_to_widths_from_10_on(name):
    widths = [9, 10, 11] + [40] * (len(template(name)) - 3)
    budget_ratio = max(
        r for r in np.arange(0.05, 1, 0.01) if budget_of(name, r) <= count_params(name, widths)
    )
    plain = prepare_filters(name, budget_ratio, pruned_filters=widths)
    searched = prepare_filters(name, budget_ratio, pruned_filters=widths, search=True)
    assert [s - p for s, p in zip(searched, plain)] == [10 if p < 10 else 0 for p in plain]
    assert {0, 10} == {s - p for s, p in zip(searched, plain)}


# --- laws that no search produces -----------------------------------------------------------------

ODD_LAWS = {  # ratio, alpha, beta
    "nothing but ones": (1.0, 0.0, 1.0),
    "shrinks": (8.0, 1e-12, -3.0),
    "shrinks from a large shape": (1e-3, 1e12, -3.0),
    "grows fast": (8.0, 1e12, 3.0),
    "large constant": (1e-3, 1e12, 0.0),
    "all but constant": (1.0, 5.0, 1e-9),
}


def check_within_budget(name: str, ratio: float, alpha, beta, budget: str) -> None:
    began = time.process_time()
    found = prepare_filters(
        name, ratio, scaling=SimpleNamespace(alpha=alpha, beta=beta), budget=budget
    )
    assert time.process_time() - began < 2  # 0.5 s was the most seen
    assert len(found) == len(template(name)) and min(found) >= 1
    assert BUDGETS[budget](name, found) <= budget_of(name, ratio, budget)


@budgets
@pytest.mark.parametrize("odd", ODD_LAWS)
@pytest.mark.parametrize("name", MODELS)
def test_odd_laws_give_a_network_within_the_budget(name, odd, budget):
    layers, (ratio, alpha, beta) = len(template(name)), ODD_LAWS[odd]
    check_within_budget(name, ratio, [alpha] * layers, [beta] * layers, budget)
    # One constant layer that alone exceeds the budget at any tau, or that shrinks while the others
    # grow.
    check_within_budget(
        name, ratio, [1e12] + [alpha] * (layers - 1), [0.0] + [beta] * (layers - 1), budget
    )
    check_within_budget(
        name, ratio, [1e12] + [alpha] * (layers - 1), [-1.0] + [beta] * (layers - 1), budget
    )


@pytest.mark.slow
@budgets
@pytest.mark.parametrize("name", MODELS)
@settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(data=st.data(), ratio=st.floats(-3, np.log10(8)).map(lambda exponent: 10**exponent))
def test_any_finite_law_gives_a_network_within_the_budget(name, budget, data, ratio):
    layers = len(template(name))
    exponents = data.draw(
        st.lists(st.floats(-12, 12), min_size=layers, max_size=layers), label="log10 of alpha"
    )
    slope = st.one_of(st.floats(-3, 3), st.just(0.0), st.floats(0, 1e-6))
    beta = data.draw(st.lists(slope, min_size=layers, max_size=layers), label="beta")
    check_within_budget(name, ratio, [10.0**exponent for exponent in exponents], beta, budget)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(list(MODELS)), st.sampled_from(list(BUDGETS)), st.data())
def test_any_pruned_shape_is_scaled_by_the_largest_common_multiplier(name, budget, data):
    shape = data.draw(
        st.lists(st.integers(1, 600), min_size=len(template(name)), max_size=len(template(name)))
    )
    ratio = data.draw(st.floats(0.05, 2))
    check_largest_factor(
        name,
        ratio,
        shape,
        prepare_filters(name, ratio, pruned_filters=shape, budget=budget),
        budget,
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(list(MODELS)), st.sampled_from(list(BUDGETS)), st.data())
def test_any_growing_law_gives_the_largest_network_within_the_budget(name, budget, data):
    """Laws like those that searches find: each layer has a width at the template's budget, and
    grows by a power of its own."""
    layers, ratio = len(template(name)), data.draw(st.floats(0.1, 2))
    widths = np.array(data.draw(st.lists(st.integers(4, 600), min_size=layers, max_size=layers)))
    beta = np.array(data.draw(st.lists(st.floats(0.1, 1.5), min_size=layers, max_size=layers)))
    law = PowerLaw((widths / float(budget_of(name, 1.0, budget)) ** beta).tolist(), beta.tolist())
    check_largest(
        name,
        ratio,
        law.alpha,
        law.beta,
        prepare_filters(name, ratio, scaling=law, budget=budget),
        budget,
    )


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_alpha_and_beta_that_are_not_finite_raise_value_error(bad):
    good = [1.0] * 8
    for law in (PowerLaw([bad, *good[1:]], good), PowerLaw(good, [*good[1:], bad])):
        with pytest.raises(ValueError, match="finite"):
            prepare_filters("vgg", 1.0, scaling=law)


def test_a_negative_alpha_raises_value_error():
    with pytest.raises(ValueError, match="negative"):
        prepare_filters("vgg", 1.0, scaling=PowerLaw([-1.0] + [1.0] * 7, [1.0] * 8))


@pytest.mark.parametrize(("alphas", "betas"), [(7, 7), (9, 9), (8, 7), (7, 8), (0, 0)])
def test_a_law_of_another_number_of_layers_raises_value_error(alphas, betas):
    with pytest.raises(ValueError, match="8 layers"):
        prepare_filters("vgg", 1.0, scaling=PowerLaw([1.0] * alphas, [0.5] * betas))


@pytest.mark.parametrize(
    "widths",
    [
        [64] * 7,
        [64] * 9,
        [64] * 7 + [0],
        [64] * 7 + [-3],
        [64] * 7 + [float("nan")],
        [64] * 7 + [float("inf")],
    ],
)
def test_a_pruned_shape_that_fits_no_network_raises_value_error(widths):
    with pytest.raises(ValueError, match=r"layers|at least 1|finite"):
        prepare_filters("vgg", 1.0, pruned_filters=widths)


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf")])
def test_a_ratio_that_is_not_a_positive_number_raises_value_error(ratio):
    for scaling in (None, PowerLaw([1.0] * 8, [0.5] * 8)):
        with pytest.raises(ValueError, match="ratio"):
            prepare_filters("vgg", ratio, scaling=scaling)


def test_an_unknown_budget_raises_value_error():
    for scaling in (None, PowerLaw([1.0] * 8, [0.5] * 8)):
        with pytest.raises(ValueError, match=r"'flops'.*params, macs"):
            prepare_filters("vgg", 1.0, scaling=scaling, budget="flops")


def test_an_unknown_model_raises_value_error():
    with pytest.raises(ValueError, match="vgg16"):
        prepare_filters("vgg16", 1.0)
