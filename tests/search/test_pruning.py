"""The rules of a search iteration (when pruning rounds fall, what falls in them, when it ends), on
gradients made by hand."""

import math

import pytest
import torch

from model.gate import GateLayer
from utils import pruning
from utils.pruning import TaylorPruner, per_cost, survivors, taylor_criterion
from utils.records.files import read_tensors, write_tensors


def make(
    widths, prune_every=1, prune_step=1, prune_fraction=0.95, cost=None, cost_at_end=False
) -> TaylorPruner:
    return TaylorPruner(
        [GateLayer(width) for width in widths],
        prune_every,
        prune_step,
        prune_fraction,
        cost,
        cost_at_end,
    )


def feed(pruner: TaylorPruner, *layers) -> bool:
    """One batch whose gate gradients are ``layers``, a list of numbers each."""
    for gate, grads in zip(pruner.gates, layers, strict=True):
        gate.weight.grad = torch.tensor(grads, dtype=torch.float32)
    return pruner.step()


def gates(pruner: TaylorPruner) -> list[list[float]]:
    return [gate.weight.tolist() for gate in pruner.gates]


def ascending(*widths) -> list[list[float]]:
    """Gradients that rise from filter to filter, the layers interleaved: they lose filters in
    turn."""
    return [
        [len(widths) * i + layer + 1.0 for i in range(width)] for layer, width in enumerate(widths)
    ]


def test_the_criterion_is_the_squared_product_of_gate_and_gradient():
    assert taylor_criterion(
        torch.tensor([1.0, 1.0, 0.0, 2.0]), torch.tensor([3.0, -3.0, 5.0, 0.5])
    ).tolist() == [9, 9, 0, 1]


# --- batches and rounds ---------------------------------------------------------------------------


def test_rounds_are_at_positive_multiples_of_k_and_the_first_mean_is_over_k_plus_1_batches(
    monkeypatch,
):
    means = []

    def spy(criterion, alive, step, most):
        means.append(criterion.tolist())
        return survivors(criterion, alive, step, most)

    monkeypatch.setattr(pruning, "survivors", spy)
    pruner = make([4], prune_every=2)
    rounds = []
    for batch in range(7):
        assert feed(pruner, [10.0, 20.0, 30.0 + batch, 40.0 + batch])
        rounds.append(pruner.rounds)
    # Batches are numbered from 0 and 0 is no positive multiple of 2: rounds after batch 2 (0, 1,
    # 2), 4 (3, 4), 6 (5, 6).
    assert rounds == [0, 0, 1, 1, 2, 2, 3]
    assert means == [
        [
            100,
            400,
            pytest.approx((30**2 + 31**2 + 32**2) / 3),
            pytest.approx((40**2 + 41**2 + 42**2) / 3),
        ],
        [0, 400, (33**2 + 34**2) / 2, (43**2 + 44**2) / 2],
        [0, 0, (35**2 + 36**2) / 2, (45**2 + 46**2) / 2],
    ]


def test_batch_0_counts_in_the_first_round_and_in_no_later_one():
    pruner = make([4], prune_every=2)
    feed(pruner, [9.0, 0.0, 0.0, 0.0])  # only batch 0 speaks for filter 0
    for _ in range(2):
        feed(pruner, [0.0, 1.0, 2.0, 3.0])
    assert gates(pruner) == [[1, 0, 1, 1]]
    for _ in range(2):
        feed(pruner, [0.0, 1.0, 2.0, 3.0])
    assert gates(pruner) == [[0, 0, 1, 1]]


def test_the_mean_is_of_squares_not_the_square_of_the_mean():
    pruner = make([3], prune_every=1)
    feed(pruner, [5.0, 1.0, 2.0])
    feed(pruner, [-5.0, 1.0, 2.0])  # gradients that cancel still mean a filter that matters
    assert gates(pruner) == [[1, 0, 1]]


def test_the_threshold_is_over_all_layers_together():
    pruner = make([3, 3], prune_step=2)
    for _ in range(2):
        feed(pruner, [1.0, 2.0, 9.0], [8.0, 7.0, 6.0])
    assert gates(pruner) == [[0, 0, 1], [1, 1, 1]]


def test_defaults_are_those_of_the_paper_on_cifar():
    pruner = TaylorPruner([GateLayer(100)])
    assert (pruner.prune_every, pruner.prune_step) == (50, 10)
    grads = torch.arange(1.0, 101.0)
    pruner.gates[0].weight.grad = grads
    survivors_after = []
    for _ in range(101):
        assert pruner.step()
        survivors_after.append(sum(pruner.widths))
    assert survivors_after == [100] * 50 + [90] * 50 + [80]


# --- who falls ------------------------------------------------------------------------------------


def test_ties_at_the_threshold_fall_together():
    pruner = make([3, 4], prune_step=2)
    for _ in range(2):
        feed(pruner, [1.0, 2.0, 5.0], [2.0, -2.0, 6.0, 7.0])
    # step 2, but the second smallest value occurs three times
    assert gates(pruner) == [[0, 0, 1], [0, 0, 1, 1]]


def test_dead_units_fall_together_in_the_first_round():
    pruner = make([6], prune_step=1)
    for _ in range(2):
        feed(pruner, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    assert gates(pruner) == [[0, 0, 0, 1, 1, 1]]


def test_pruned_gates_count_as_zero_so_each_round_takes_the_next_step_filters():
    pruner = make([8], prune_step=2)
    left = []
    for _ in range(4):
        feed(pruner, *ascending(8))
        left.append(sum(pruner.widths))
    assert left == [8, 6, 4, 2]


def test_a_unit_that_dies_later_shares_the_zeros_with_the_pruned_and_falls_first():
    pruner = make([5], prune_step=1)
    for _ in range(2):
        feed(pruner, [1.0, 2.0, 3.0, 4.0, 5.0])
    feed(pruner, [1.0, 2.0, 3.0, 4.0, 0.0])  # one pruned + one dead: the second smallest value is 0
    assert gates(pruner) == [[0, 1, 1, 1, 0]]


def test_a_closed_gate_stays_closed_whatever_its_gradient():
    pruner = make([4])
    for _ in range(2):
        feed(pruner, [1.0, 2.0, 3.0, 4.0])
    feed(pruner, [9e9, 2.0, 3.0, 4.0])
    assert gates(pruner) == [[0, 0, 1, 1]]


@pytest.mark.parametrize(("fraction", "most"), [(0.95, 19), (0.5, 10), (0.33, 6)])
def test_the_threshold_is_at_most_the_given_fraction_of_all_gates(fraction, most):
    pruner = make([20], prune_step=100, prune_fraction=fraction)
    for _ in range(2):
        assert feed(pruner, *ascending(20))
    assert sum(pruner.widths) == 20 - most


def test_survivors_is_a_pure_function_of_criterion_and_alive():
    criterion, alive = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([True, True, False, True])
    assert survivors(criterion, alive, 1, 4).tolist() == [True, True, False, False]
    assert survivors(criterion, alive, 2, 4).tolist() == [True, False, False, False]
    assert survivors(criterion, alive, 2, 2).tolist() == [True, True, False, False]
    assert (criterion.tolist(), alive.tolist()) == ([4, 3, 2, 1], [True, True, False, True])


# --- the end --------------------------------------------------------------------------------------


def test_a_round_that_would_take_a_layers_last_filter_ends_the_iteration_instead():
    pruner = make([3, 6], prune_step=3)
    results = [feed(pruner, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]) for _ in range(2)]
    assert results == [True, False]
    assert gates(pruner) == [[1, 1, 1], [1] * 6]  # nothing of that round happened
    assert (pruner.rounds, pruner.history) == (0, [[3, 6]])


def test_a_round_that_would_take_a_last_filter_is_not_recorded():
    pruner = make([3, 6], prune_step=3)
    grads = [1.0, 20.0, 21.0], [2.0, 3.0, 6.0, 7.0, 8.0, 30.0]
    assert [feed(pruner, *grads) for _ in range(2)] == [True, True]
    assert pruner.history == [[2, 4]]
    assert feed(pruner, *grads)  # 6, 7 and 8
    grads = [20.0, 20.0, 20.0], [30.0] * 6
    assert not feed(pruner, *grads)
    assert gates(pruner) == [[0, 1, 1], [0, 0, 0, 0, 0, 1]]
    assert pruner.history == [[2, 4], [2, 1]]


def test_a_round_that_meets_a_layer_with_one_survivor_ends_the_iteration_and_is_not_recorded():
    pruner = make([2, 6])
    results = [feed(pruner, [2.5, 99.0], [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) for _ in range(4)]
    # The second round leaves layer 0 its last filter. The third would only take from layer 1, and
    # must not happen.
    assert results == [True, True, True, False]
    assert gates(pruner) == [[0, 1], [0, 1, 1, 1, 1, 1]]
    assert pruner.history == [[1, 5]]


def test_a_layer_that_starts_with_one_filter_ends_the_iteration_at_its_first_round():
    pruner = make([1, 5], prune_every=3)
    assert [feed(pruner, *ascending(1, 5)) for _ in range(4)] == [True, True, True, False]
    assert gates(pruner) == [[1], [1] * 5]
    assert pruner.history == [[1, 5]]


@pytest.mark.parametrize(
    ("widths", "step", "fraction", "rounds", "left"),
    [
        ([47], 10, 0.95, 5, 3),  # int(44.65) = 44 of 47: rounds of 10, 10, 10, 10, 4
        ([47], 10, 0.50, 3, 24),
        ([20], 1, 0.95, 19, 1),
        ([100, 100], 10, 0.95, 19, 10),
        ([100, 100], 10, 0.50, 10, 100),
        ([30, 30], 7, 0.50, 5, 30),
        ([13, 14, 15], 1, 0.50, 21, 21),
        ([64, 128, 256, 256, 512, 512, 512, 512], 10, 0.95, 262, 138),
        ([64, 128, 256, 256, 512, 512, 512, 512], 10, 0.50, 138, 1376),
    ],
)
def test_the_iteration_ends_at_the_batch_after_its_last_round(widths, step, fraction, rounds, left):
    assert rounds == math.ceil(int(fraction * sum(widths)) / step)
    pruner = make(widths, prune_every=2, prune_step=step, prune_fraction=fraction)
    # Each layer loses the same share, and no two filters tie.
    grads = [
        [(i + 1 + layer / 100) / width for i in range(width)] for layer, width in enumerate(widths)
    ]
    for _ in range(2 * rounds + 1):  # the last round is at batch 2 * rounds, counted from 0
        assert feed(pruner, *grads)
    assert pruner.rounds == rounds
    assert sum(pruner.widths) == left == sum(widths) - int(fraction * sum(widths))
    assert not feed(pruner, *grads)
    assert pruner.history[-1] == pruner.widths


def test_step_after_the_end_stays_false_and_changes_nothing():
    pruner = make([6], prune_fraction=0.5)
    while feed(pruner, *ascending(6)):
        pass
    history, weights = list(pruner.history), gates(pruner)
    assert history == [[5], [4], [3]]
    assert not any(feed(pruner, *ascending(6)) for _ in range(5))
    assert (pruner.history, gates(pruner)) == (history, weights)


# --- the record -----------------------------------------------------------------------------------


def test_recording_begins_once_every_layer_has_lost_a_filter():
    pruner = make([4, 5])
    for _ in range(5):
        feed(pruner, [4.0, 7.0, 8.0, 9.0], [1.0, 2.0, 5.0, 6.0, 10.0])
    assert pruner.history == [[3, 3], [3, 2]]  # not [4, 4] and [4, 3]


def test_an_iteration_without_a_row_records_the_widths_it_ended_with():
    pruner = make([2, 4])
    results = [feed(pruner, [5.0, 99.0], [2.0, 3.0, 4.0, 6.0]) for _ in range(5)]
    # layer 1 falls to its last filter while layer 0 is whole
    assert results == [True, True, True, True, False]
    assert pruner.history == [[2, 1]]


def test_an_iteration_cut_short_records_its_current_widths_only_where_there_is_no_row():
    pruner = make([4, 5])
    pruner.finish()  # the epochs have run out
    assert pruner.history == [[4, 5]]
    assert not feed(pruner, [1.0] * 4, [1.0] * 5)
    pruner = make([3, 3])
    for _ in range(3):
        assert feed(pruner, [1.0, 4.0, 5.0], [2.0, 3.0, 6.0])
    assert pruner.history == [[2, 2]]
    pruner.finish()
    assert pruner.history == [[2, 2]]


def test_history_holds_plain_numbers():
    pruner = make([3, 3])
    while feed(pruner, *ascending(3, 3)):
        pass
    assert pruner.history == [[2, 2], [1, 2]]
    assert all(type(width) is int for row in pruner.history for width in row)


# --- what filters cost ----------------------------------------------------------------------------


def test_the_criterion_for_its_cost():
    criterion = torch.tensor([4.0, 6.0, 0.0, 8.0, 1.0])
    assert per_cost(criterion, [2, 4.0], [2, 3]).tolist() == [2, 3, 0, 2, 0.25]
    assert criterion.tolist() == [4, 6, 0, 8, 1]
    smallest = torch.tensor([1e-30, 2e-30])
    # too small for float32, and told apart
    assert per_cost(smallest, [1e60], [2]).tolist() == pytest.approx([1e-90, 2e-90], rel=1e-6)


def test_filters_fall_by_their_criterion_for_their_cost_at_the_widths_of_the_moment():
    asked = []

    def cost(widths):
        asked.append(widths)
        return [100.0, 1.0] if widths == [4, 4] else [1.0, 100.0]

    pruner = make([4, 4], prune_step=2, cost=cost)
    for _ in range(2):
        # squared, and a hundredth: 0.25 0.36 0.49 0.64 against 1 4 9 16
        feed(pruner, [5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert gates(pruner) == [[0, 0, 1, 1], [1, 1, 1, 1]]
    feed(pruner, [1.0, 1.0, 1.0, 2.0], [5.0, 6.0, 7.0, 8.0])  # 1 4 against 0.25 0.36 0.49 0.64
    assert gates(pruner) == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert asked == [[4, 4], [2, 4]]


def test_filters_may_fall_by_their_cost_at_the_widths_that_the_round_would_leave():
    asked = []

    def cost(widths):
        asked.append(widths)
        return [100.0, 1.0] if widths == [4, 4] else [1.0, 100.0]

    pruner = make([4, 4], prune_step=2, cost=cost, cost_at_end=True)
    for _ in range(2):
        # at [4, 4] two of the first would fall; at [2, 4], of the second
        feed(pruner, [5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert gates(pruner) == [[1, 1, 1, 1], [0, 0, 1, 1]] and asked == [[4, 4], [2, 4]]


def test_a_round_that_would_take_a_layer_s_last_filter_asks_for_no_cost_at_its_end():
    pruner = make(
        [2, 9],
        prune_step=2,
        cost=lambda widths: [1.0, 1.0] if min(widths) else pytest.fail("no such network"),
        cost_at_end=True,
    )
    feed(pruner, [1.0, 1.0], [5.0] * 9)
    assert not feed(pruner, [1.0, 1.0], [5.0] * 9) and gates(pruner) == [[1, 1], [1] * 9]


def test_pruned_gates_count_as_0_and_ties_fall_together_whatever_the_cost():
    # the criterion of a pruned gate is as large as any
    pruner = make([3, 4], prune_step=2, cost=lambda widths: [1e-6, 1.0])
    for _ in range(2):
        feed(pruner, [9.0, 9.0, 9.0], [1.0, 1.0, 1.0, 7.0])
    assert gates(pruner) == [[1, 1, 1], [0, 0, 0, 1]]


def test_a_cost_of_one_changes_nothing():
    draw = torch.Generator().manual_seed(0)
    source = [[torch.rand(width, generator=draw).tolist() for width in (7, 9)] for _ in range(20)]
    plain, priced = (
        make([7, 9], prune_step=2),
        make([7, 9], prune_step=2, cost=lambda widths: [1, 1]),
    )
    for layers in source:
        assert feed(plain, *layers) == feed(priced, *layers)
    assert (
        plain.history == priced.history and len(plain.history) > 2 and gates(plain) == gates(priced)
    )


@pytest.mark.parametrize(
    "cost",
    [[1.0], [1.0, 1.0, 1.0], [1.0, 0.0], [-1.0, 1.0], [1.0, float("nan")], [float("inf"), 1.0]],
)
def test_a_cost_that_is_not_one_positive_number_per_layer_raises_value_error(cost):
    pruner = make([3, 3], cost=lambda widths: cost)
    feed(pruner, *ascending(3, 3))
    with pytest.raises(ValueError, match="each of 2 layers must cost a positive number"):
        feed(pruner, *ascending(3, 3))
    assert gates(pruner) == [[1, 1, 1]] * 2


# --- faults, and going on -------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_criterion_that_is_not_finite_raises_and_closes_no_gate(bad):
    pruner = make([3, 3], prune_every=2)
    assert feed(pruner, [1.0, bad, 2.0], [1.0, 2.0, 3.0])
    assert feed(pruner, *ascending(3, 3))
    with pytest.raises(FloatingPointError, match="not finite"):
        feed(pruner, *ascending(3, 3))
    assert gates(pruner) == [[1, 1, 1]] * 2


@pytest.mark.parametrize(
    "cost", [None, lambda widths: [4.0 + width for width in widths]], ids=["", "cost"]
)
@pytest.mark.parametrize("interrupted_after", [1, 4, 7, 12])
def test_a_state_saved_between_batches_goes_on_to_the_same_history(
    interrupted_after, cost, tmp_path
):
    def batches():
        draw = torch.Generator().manual_seed(3)
        while True:
            yield [torch.rand(width, generator=draw).tolist() for width in (7, 9, 11)]

    def run(pruner, source) -> list[list[int]]:
        while feed(pruner, *next(source)):
            pass
        return pruner.history

    whole = run(make([7, 9, 11], 3, 2, cost=cost), batches())
    assert len(whole) > 3
    source, first, second = batches(), *(make([7, 9, 11], 3, 2, cost=cost) for _ in range(2))
    for _ in range(interrupted_after):
        assert feed(first, *next(source))
    write_tensors(
        tmp_path / "state.pt",
        {"pruner": first.state_dict(), "gates": [gate.weight.detach() for gate in first.gates]},
    )
    state = read_tensors(tmp_path / "state.pt")
    second.load_state_dict(state["pruner"])
    for gate, weight in zip(second.gates, state["gates"]):
        gate.weight.data = weight
    assert run(second, source) == whole
