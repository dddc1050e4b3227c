"""Layers that may not vanish and layers left alone: in the pruning rule and in widths for a budget,
against slow oracles."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model import (
    BUDGETS,
    MODELS,
    build_model,
    described,
    layer_names,
    prepare_filters,
    template,
    uniform_filters,
    widths_of,
)
from model.errors import OverBudget, UnknownLayer
from model.gate import GateLayer, gates_of
from model.registry import network
from utils.errors import UserError
from utils.powerlaw import PowerLaw, fit_power_law
from utils.pruning import TaylorPruner
from utils.training.magnitude import pruned_widths

# --- the pruning rule -----------------------------------------------------------------------------


def paper(
    widths: list[int], keep: set[int], step: int, fraction: float, rounds: list[list[list[float]]]
) -> list[list[int]]:
    """The rows of the paper's rule, filter by filter; each of ``rounds`` has the gradients of its
    only batch."""
    layers = [layer for layer in range(len(widths)) if layer not in keep]
    alive, rows = {(layer, i) for layer, width in enumerate(widths) for i in range(width)}, []
    most = int(fraction * sum(widths[layer] for layer in layers))

    def left(among) -> list[int]:
        return [sum(layer == own for own, _ in among) for layer in range(len(widths))]

    for number, grads in enumerate(rounds):
        if number * step >= most or min(left(alive)[layer] for layer in layers) <= 1:
            break
        values = {
            (layer, i): grads[layer][i] ** 2 if (layer, i) in alive else 0
            for layer in layers
            for i in range(widths[layer])
        }
        dead = len(values) - sum(one in alive for one in values)
        threshold = sorted(values.values())[min(dead + step, most) - 1]
        after = {one for one in alive if one not in values or values[one] > threshold}
        if min(left(after)[layer] for layer in layers) < 1:
            break
        alive = after
        if all(left(alive)[layer] < widths[layer] for layer in layers):
            rows.append(left(alive))
    return rows or [left(alive)]


def with_floors(
    widths: list[int],
    floor: int,
    keep: set[int],
    step: int,
    fraction: float,
    rounds: list[list[list[float]]],
) -> list[list[int]]:
    """The rows where a layer is left alone at ``floor`` filters, filter by filter."""
    floors = [width if layer in keep else min(width, floor) for layer, width in enumerate(widths)]
    alive, rows = [set(range(width)) for width in widths], []
    most = int(fraction * (sum(widths) - sum(floors)))
    for grads in rounds:
        gone = sum(widths) - sum(map(len, alive))
        ranked = [
            (grads[layer][i] ** 2, layer, i)
            for layer, own in enumerate(alive)
            if len(own) > floors[layer]
            for i in own
        ]
        if gone >= most or not ranked:
            break
        threshold = sorted(value for value, _, _ in ranked)[min(step, most - gone, len(ranked)) - 1]
        for layer, own in enumerate(alive):
            fallen = {i for value, of, i in ranked if of == layer and value <= threshold}
            best = sorted(own, key=lambda i: (-(grads[layer][i] ** 2), i))
            alive[layer] = (
                own - fallen if len(own - fallen) >= floors[layer] else set(best[: floors[layer]])
            )
        rows.append([len(own) for own in alive])
    return rows or [[len(own) for own in alive]]


@st.composite
def iterations(draw):
    """Widths, layers to keep, a step, a fraction, and the gradients of more rounds than there can
    be; few values, so that some tie."""
    widths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    keep = draw(st.sets(st.integers(0, len(widths) - 1), max_size=len(widths) - 1))
    values = [quarter / 4 for quarter in range(draw(st.sampled_from([8, 60])))]
    random = draw(st.randoms(use_true_random=False))
    rounds = [
        [[random.choice(values) for _ in range(width)] for width in widths]
        for _ in range(sum(widths) + 2)
    ]
    return (
        widths,
        keep,
        draw(st.integers(1, 5)),
        draw(st.sampled_from([0.3, 0.5, 0.95, 1.0])),
        rounds,
    )


def pruned(widths, floor, keep, step, fraction, rounds, cost=None) -> TaylorPruner:
    pruner = TaylorPruner(
        [GateLayer(width) for width in widths], 1, step, fraction, cost, min_width=floor, keep=keep
    )
    for grads in [rounds[0], *rounds]:
        for gate, part in zip(pruner.gates, grads):
            # Batch 0 is of the first round too, and doubles its sum.
            gate.weight.grad = torch.tensor(part)
        if not pruner.step():
            break
    pruner.finish()
    return pruner


@settings(max_examples=150, deadline=None, derandomize=True)
@given(iterations())
def test_without_floors_the_rule_is_the_papers(iteration):
    widths, keep, step, fraction, rounds = iteration
    assert pruned(widths, 0, keep, step, fraction, rounds).history == paper(
        widths, keep, step, fraction, rounds
    )
    assert pruned(widths, 0, (), step, fraction, rounds).history == paper(
        widths, set(), step, fraction, rounds
    )


@settings(max_examples=250, deadline=None, derandomize=True)
@given(iterations(), st.integers(1, 4))
def test_with_floors_pruning_goes_on_where_a_layer_is_at_its_own(iteration, floor):
    widths, keep, step, fraction, rounds = iteration
    pruner = pruned(widths, floor, keep, step, fraction, rounds)
    assert pruner.history == with_floors(widths, floor, keep, step, fraction, rounds)
    for row in pruner.history:
        assert all(
            left == full if layer in keep else left >= min(full, floor)
            for layer, (left, full) in enumerate(zip(row, widths))
        )
    above = sum(
        width - min(width, floor) for layer, width in enumerate(widths) if layer not in keep
    )
    assert sum(widths) - sum(pruner.widths) >= int(fraction * above)  # it never ends before
    assert [int(gate.weight.sum()) for gate in pruner.gates] == pruner.widths


def test_a_layer_that_a_round_would_take_below_its_floor_keeps_its_best():
    pruner = pruned([4, 3], 2, (), 4, 1.0, [[[1.0, 4.0, 2.0, 3.0], [9.0, 5.0, 7.0]]])
    assert [gate.weight.tolist() for gate in pruner.gates] == [
        [0, 1, 0, 1],
        [1, 1, 1],
    ] and pruner.history == [[2, 3]]


def test_a_floor_counts_costs_and_asks_for_them_at_the_widths_of_the_moment():
    asked = []

    def cost(widths):
        asked.append(widths)
        return [1.0, 100.0]

    pruner = pruned([3, 3], 2, (), 1, 1.0, [[[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]]] * 3, cost)
    assert pruner.history == [[3, 2], [2, 2]] and asked == [[3, 3], [3, 2]]


@pytest.mark.parametrize("interrupted_after", [1, 3, 5])
def test_a_state_goes_on_with_floors_and_that_of_an_earlier_version_is_one_of_them(
    interrupted_after,
):
    def source():
        draw = torch.Generator().manual_seed(1)
        while True:
            yield [torch.rand(width, generator=draw) for width in (6, 3, 9)]

    def make() -> TaylorPruner:
        return TaylorPruner([GateLayer(width) for width in (6, 3, 9)], 1, 2, min_width=2, keep=[1])

    def go_on(pruner, batches, most=100) -> list[list[int]]:
        for _, grads in zip(range(most), batches):
            for gate, grad in zip(pruner.gates, grads):
                gate.weight.grad = grad
            if not pruner.step():
                break
        return pruner.history

    whole, batches, first, second = go_on(make(), source()), source(), make(), make()
    go_on(first, batches, interrupted_after)
    state = first.state_dict()
    assert set(state) == {"history", "batches", "rounds", "scored", "ended", "alive", "total"}
    second.load_state_dict(state)
    for gate, part in zip(second.gates, first.gates):
        gate.weight.data = part.weight.data.clone()
    assert go_on(second, batches) == whole and len(whole) > 4 and {row[1] for row in whole} == {3}


@pytest.mark.parametrize("wrong", [{"min_width": -1}, {"keep": [2]}, {"keep": [-1]}])
def test_floors_that_no_layers_have_raise_value_error(wrong):
    with pytest.raises(ValueError, match="2 layers can't keep"):
        TaylorPruner([GateLayer(3), GateLayer(3)], **wrong)


# --- widths for a budget --------------------------------------------------------------------------


def check_largest_above(
    name: str,
    ratio: float,
    shape: list[int],
    least: list[int],
    kept: set[int],
    found: list[int],
    budget: str,
) -> None:
    """``found`` is max(least, floor(factor * shape)) within the budget, and no larger factor up to
    a fifth above gives any that is."""
    amount = BUDGETS[budget](name, uniform_filters(name, ratio))

    def at(factor: Fraction) -> list[int]:
        return [
            low if layer in kept else max(low, whole * factor.numerator // factor.denominator)
            for layer, (whole, low) in enumerate(zip(shape, least))
        ]

    assert BUDGETS[budget](name, found) <= amount
    grown = [
        Fraction(width, whole)
        for layer, (width, whole, low) in enumerate(zip(found, shape, least))
        if width > low and layer not in kept
    ]
    assert at(max(grown, default=Fraction(1, 10**6))) == found
    free = [layer for layer in range(len(shape)) if layer not in kept]
    high = min(Fraction(max(found[layer], 1) + 1, shape[layer]) for layer in free)
    changes = sorted(
        {
            Fraction(n, shape[layer])
            for layer in free
            for n in range(int(high * shape[layer]), int(high * shape[layer] * 6 / 5) + 2)
        }
        | {high * 2, high * 8, high * 64}
    )
    assert (
        min(BUDGETS[budget](name, np.array([at(factor) for factor in changes if factor >= high]).T))
        > amount
    )


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_shapes_are_scaled_above_their_floors_to_what_exact_arithmetic_gives(name, data):
    layers = len(template(name))
    shape = data.draw(
        st.lists(st.integers(1, 24).map(lambda width: 4 * width), min_size=layers, max_size=layers)
    )
    min_width, budget, ratio = (
        data.draw(st.integers(0, 12)),
        data.draw(st.sampled_from([*BUDGETS])),
        data.draw(st.floats(0.15, 0.6)),
    )
    keep = data.draw(
        st.sets(
            st.sampled_from([width[0] for width in layer_names(name)[: layers // 2]]), max_size=2
        )
    )
    kept = {*widths_of(name, sorted(keep))}
    least = [
        width if layer in kept else min(max(1, min_width), width)
        for layer, width in enumerate(template(name))
    ]
    try:
        found = prepare_filters(
            name, ratio, pruned_filters=shape, budget=budget, min_width=min_width, keep=sorted(keep)
        )
    except OverBudget:
        assert BUDGETS[budget](name, least) > BUDGETS[budget](name, uniform_filters(name, ratio))
        return
    check_largest_above(name, ratio, shape, least, kept, found, budget)
    flat = PowerLaw(list(map(float, shape)), [0.0] * layers)  # a stand-in for a law means the same
    assert (
        prepare_filters(
            name, ratio, scaling=flat, budget=budget, min_width=min_width, keep=sorted(keep)
        )
        == found
    )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_laws_are_scaled_above_their_floors_within_the_same_budget(name, budget):
    own = template(name)
    beta = np.linspace(0.2, 0.9, len(own))
    alpha = np.array(own) / float(BUDGETS[budget](name, own)) ** beta
    least = BUDGETS[budget](name, [*(min(9, whole) for whole in own[:-1]), own[-1]])
    for ratio in (0.3, 0.6, 1, 1.7):
        amount = BUDGETS[budget](name, uniform_filters(name, ratio))
        if least > amount and ratio < 1:  # a narrow network has fewer filters there
            continue
        found = prepare_filters(
            name,
            ratio,
            scaling=PowerLaw(alpha.tolist(), beta.tolist()),
            budget=budget,
            min_width=9,
            keep=layer_names(name)[-1],
        )
        assert found[-1] == own[-1] and all(
            width >= min(9, whole) for width, whole in zip(found, own)
        )
        assert 0.97 * amount < BUDGETS[budget](name, found) <= amount
        free = np.array([layer + 1 < len(own) and width > 9 for layer, width in enumerate(found)])
        low, high = (
            ((np.array(found) / alpha) ** (1 / beta))[free].max(),
            (((np.array(found) + 1) / alpha) ** (1 / beta))[free].min(),
        )
        assert low < high  # one tau gives all that are above their floors


def test_a_uniform_network_with_floors_is_the_template_scaled_above_them():
    # which has no fewer
    assert prepare_filters("vgg", 0.25, min_width=16) == uniform_filters("vgg", 0.25)
    found = prepare_filters("vgg", 0.25, min_width=20, keep=["features.4"])
    check_largest_above("vgg", 0.25, template("vgg"), [20, 128, *[20] * 6], {1}, found, "params")
    assert found[:2] == [20, 128]
    # the template has no more there
    assert prepare_filters("mobilenetv2", 0.25, min_width=17)[1] == 16


def test_the_search_adds_nothing_to_layers_that_are_kept():
    for name in MODELS:
        kept, plain = (
            prepare_filters(name, 0.1, search=True, keep=keep)
            for keep in (layer_names(name)[0], ())
        )
        assert kept[0] == template(name)[0] > plain[0]
        scaled = prepare_filters(name, 0.1, keep=layer_names(name)[0])
        extra = network(name).search_extra
        assert kept[1:] == [width + extra if width < 10 else width for width in scaled[1:]]
        assert not extra or min(scaled) < 10


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", MODELS)
def test_rounded_widths_have_their_floors_and_kept_layers_stay(name, budget):
    shape = [max(1, width // 3) for width in template(name)]
    keep = layer_names(name)[2]
    cost, sixteen = BUDGETS[budget], [min(16, width) for width in template(name)]
    sixteen[2] = template(name)[2]
    # a narrow network has as many at a larger ratio only
    ratio = next(
        ratio
        for ratio in (0.5, 1)
        if cost(name, sixteen) <= cost(name, uniform_filters(name, ratio))
    )
    found = prepare_filters(
        name, ratio, pruned_filters=shape, budget=budget, round_to=8, min_width=10, keep=keep
    )
    assert found[2] == template(name)[2]
    assert all(
        width % 8 == 0 and width >= min(10, whole)
        for layer, (width, whole) in enumerate(zip(found, template(name)))
        if layer != 2
    )
    amount = cost(name, uniform_filters(name, ratio))
    assert 0.9 * amount < cost(name, found) <= amount


def test_floors_that_cost_more_than_the_budget_are_told():
    for options in ({"min_width": 100}, {"keep": ["*"]}, {"min_width": 80, "round_to": 16}):
        for more in ({}, {"pruned_filters": [8] * 8}, {"scaling": PowerLaw([1.0] * 8, [0.5] * 8)}):
            with pytest.raises(OverBudget, match=r"cost [\d,]+, the budget is 145,898"):
                prepare_filters("vgg", 0.125, **{"min_width": 0, **options, **more})


def test_a_base_network_is_pruned_above_its_floors_and_kept_layers_have_its_own_widths():
    base = uniform_filters("vgg", 0.5)
    widths = pruned_widths(
        "vgg", 0.25, base, num_classes=10, image_size=32, min_width=30, keep=["features.4"]
    )
    assert widths[:2] == [30, base[1]] and all(
        width < before for width, before in zip(widths[2:], base[2:])
    )
    with pytest.raises(
        UserError,
        match=r"--min-width 200, ratio 0.25: .* use a larger ratio or a smaller --min-width",
    ):
        pruned_widths("vgg", 0.25, base, num_classes=10, image_size=32, min_width=200)


# --- names of layers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_named_layers_are_those_that_make_each_width_and_are_listed(name):
    widths = [width + 8 * number for number, width in enumerate(template(name))]
    network, lines = (
        build_model(name, widths, gated=True),
        described(name, num_classes=10, image_size=32),
    )
    for number, layers in enumerate(layer_names(name)):
        for layer in layers:
            conv = network.get_submodule(layer)
            assert isinstance(conv, nn.Conv2d) and conv.out_channels == widths[number]
            assert lines[number + 1].split()[0] == str(number) and layer in lines[number + 1]
    assert len(layer_names(name)) == len(widths) == len(gates_of(network))


def test_layers_are_found_by_their_names():
    assert widths_of("resnet18", ["stem", "blocks.7.*"]) == [0, 15, 16]
    assert widths_of("vgg", ["*"]) == [*range(8)] and widths_of("vgg", []) == []
    assert widths_of("mobilenetv2", "head*") == [18]
    with pytest.raises(
        UnknownLayer,
        match=r"'blocks\.8\.conv1' is no layer of resnet18 .* is it blocks\.\d\.conv1 or ",
    ):
        widths_of("resnet18", ["stem", "blocks.8.conv1"])


# --- laws of layers that stay ---------------------------------------------------------------------


def test_a_layer_that_never_shrank_has_a_flat_law_and_its_width_at_every_budget():
    for width in range(1, 300):
        rows = [[width, 400 - 40 * i] for i in range(7)]
        law = fit_power_law(rows, [10**6 // (i + 1) for i in range(7)])
        assert (law.alpha[0], law.beta[0]) == (width, 0.0)
    alpha, beta = (
        [3.0, 7.0, *[width / 1e7**0.6 for width in template("vgg")[2:]]],
        [0.0, 0.0, *[0.6] * 6],
    )
    for ratio in (0.1, 0.5, 2):
        assert prepare_filters("vgg", ratio, scaling=PowerLaw(alpha, beta))[:2] == [3, 7]
