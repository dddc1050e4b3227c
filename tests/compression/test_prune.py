"""prune.py: a trained network made smaller while it trains on."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from built_in import small
from networks import EXCITED
from results import result as result_of
from running import DIGITS, assert_refused, call, everything, succeed
from torch import nn

from model import (
    MODELS,
    build_model,
    costs_when_pruned,
    count_macs,
    count_params,
    largest_filters_within,
    template,
)
from model.errors import OverBudget
from utils.compression.criteria import Magnitude, Random, Taylor
from utils.compression.rounds import FixedWidths, FreeWidths, RoundedWidths, best, widths_of
from utils.compression.state import Rounds
from utils.data import evaluation_batches, load_data
from utils.powerlaw import PowerLaw
from utils.records.networks import load_network
from utils.training.device import Runner
from utils.training.loop import evaluate

SHORT = [*DIGITS, "--epochs", 3, "--prune-part", 0.5]
WIDTHS = {model: small(model) for model in MODELS}


@pytest.fixture(autouse=True)
def net(here):
    Path("net.py").write_text(EXCITED)


def weights_of(model: str) -> Path:
    """A file as a training of this project leaves it, of the widths above."""
    torch.manual_seed(0)
    shape = {"model": model, "num_classes": 10, "image_size": 32, "filters": WIDTHS[model]}
    torch.save(
        {
            **shape,
            "dataset": "digits",
            "convcut": False,
            "begun_with": {},
            "network": build_model(model, WIDTHS[model]).state_dict(),
        },
        path := Path("base.pt"),
    )
    return path


def own_weights() -> Path:
    """A state_dict of the network in net.py."""
    torch.manual_seed(0)
    namespace: dict = {}
    exec(EXCITED, namespace)
    torch.save({"state_dict": namespace["Net"](10).state_dict()}, path := Path("mine.pt"))
    return path


def is_as_good(network: nn.Module, result: dict) -> bool:
    """Whether a network has the accuracy that its result says."""
    data = load_data("digits", "data", "cpu", limit_train=100, limit_test=50)
    return evaluate(network, evaluation_batches(data), Runner())[1] == result["last"]


# --- from the command line ------------------------------------------------------------------------


@pytest.mark.parametrize("model", WIDTHS)
def test_a_network_of_this_project_is_pruned_to_the_target_and_can_be_loaded(model):
    """Its residual layers keep different filters: what they really cost is within the target."""
    out = succeed(
        *["prune.py", "--model", model, "--weights", weights_of(model), "--target", "40%"],
        *["--save", "small", *SHORT],
    )
    result = result_of("small_40pct-macs", model)
    network = load_network(f"saved_models/{model}/small@40pct-macs.pt")
    assert is_as_good(network, result)

    gates = sum(WIDTHS[model])
    assert sum(parameter.numel() for parameter in network.parameters()) == result["params"] + gates
    whole = count_macs(model, WIDTHS[model])
    assert result["macs"] <= 0.4 * whole < 1.6 * result["macs"]
    assert result["before"]["macs"] == whole and result["method"] == "pruned_taylor"
    assert result["before"]["params"] == count_params(model, WIDTHS[model])
    assert all(width >= 1 for width in result["filters"])
    [before] = [line for line in out.splitlines() if line.startswith("before ")]
    [after] = [line for line in out.splitlines() if line.startswith("after ")]
    assert f"{count_params(model, WIDTHS[model]):,} parameters" in before
    assert f"{result['params']:,} parameters" in after and "ms for 100 images" in after
    assert_refused(
        call(
            *["prune.py", "--model", model, "--save", "again", "--target", "50%", *SHORT],
            *["--weights", f"saved_models/{model}/small@40pct-macs.pt"],
        ),
        "was pruned already",
    )


def test_a_network_given_by_name_is_pruned_and_goes_on_being_pruned():
    """From a state_dict of its owner's, and from what that left; the layer that no output follows
    from stays."""
    own = ["prune.py", "--model", "net.py:Net", *SHORT]
    succeed(*own, "--weights", own_weights(), "--target", "1k", "--budget", "params", "--save", "a")
    first = result_of("a_1k-params", "net.Net")
    assert first["params"] <= 1000 and first["budget"] == "params" and first["target"] == "1k"
    network = load_network("saved_models/net.Net/a@1k-params.pt", "net.py:Net")
    assert is_as_good(network, first)
    assert sum(parameter.numel() for parameter in network.parameters()) == first["params"]

    weights = "saved_models/net.Net/a@1k-params.pt"
    succeed(
        *own, "--weights", weights, "--target", "50%", "--save", "b", "--criterion", "magnitude"
    )
    second = result_of("b_50pct-macs", "net.Net")
    assert second["macs"] <= first["macs"] / 2 and second["before"]["test_acc"] == first["last"]
    assert second["method"] == "pruned_magnitude"


@pytest.mark.parametrize(
    "options, holds",
    [
        ("--uniform", lambda widths: max(widths[4:]) - min(widths[4:]) <= 1),
        ("--keep features.0.0", lambda widths: widths[0] == WIDTHS["vgg"][0]),
        ("--min-width 4", lambda widths: min(widths) >= 4),
        ("--round-to 4 --target 60%", lambda widths: all(width % 4 == 0 for width in widths)),
        ("--criterion random", lambda widths: True),
    ],
)
def test_options_say_which_widths(options, holds):
    layer = next(name for name, _ in build_model("vgg", [4] * 8).named_modules() if "." in name)
    options = options.replace("features.0.0", layer).split()
    succeed(
        *["prune.py", "--weights", weights_of("vgg"), "--target", "50%", "--save", "small"],
        *[*SHORT, *options],
    )
    (path,) = Path("saved_plots/vgg").glob("*.json")
    result = json.loads(path.read_text())
    assert holds(result["filters"]), result["filters"]
    part = 0.6 if "60%" in options else 0.5
    assert result["macs"] <= part * count_macs("vgg", WIDTHS["vgg"])


def test_the_widths_of_a_law_are_pruned_to(tmp_path):
    """Of the published search, on the data set that it is of; where it asks for more filters than
    there are, a layer keeps what it has."""
    for part in ("train", "test"):
        for label in range(10):
            (where := tmp_path / "CIFAR10" / part / str(label)).mkdir(parents=True)
            for number in range(2):
                pixels = np.random.default_rng(label).integers(0, 255, (32, 32, 3), np.uint8)
                from PIL import Image

                Image.fromarray(pixels).save(where / f"{number}.png")
    path = weights_of("vgg")
    succeed(
        *["prune.py", "--dataset", "CIFAR10", "--data", tmp_path, "--weights", path, "--save", "a"],
        *["--target", "50%", "--epochs", 1, "--batch-size", 10, "--prune-fname", "published"],
    )
    result = result_of("a_50pct-params", "vgg")  # what that search scaled to
    assert result["method"] == "pruned_taylor+neuralscale_15"
    assert result["origin"]["search"] == "published"
    assert result["params"] <= count_params("vgg", WIDTHS["vgg"]) / 2
    assert all(new <= old for new, old in zip(result["filters"], WIDTHS["vgg"]))


@pytest.mark.parametrize(
    "options, said",
    [
        ("--target 100%", "nothing to prune"),
        ("--target 900M", "nothing to prune"),
        ("--target 100", "with the fewest filters"),
        ("--target 20% --min-width 6", "--min-width"),
        ("--target 20% --round-to 8", "--round-to"),
        ("--target 0%", "above 0 %"),
        ("--target 50m", "is it 50M"),
        ("--target 1.5", "no whole number"),
        ("--target half", "a target is"),
        ("--uniform --morph", "give one of"),
        ("--keep nosuch", "nosuch"),
        ("--prune-fname nosuch", "nosuch"),
        ("--weights nosuch.pt", "nosuch.pt"),
        ("--model net.py:Net", "not a net.py:Net"),
        ("--model resnet18", "not a resnet18"),
        ("--prune-part 0", "prune-part"),
    ],
)
def test_what_can_not_be_is_refused_and_leaves_nothing(options, said):
    common = ["--weights", weights_of("vgg"), "--target", "50%", "--save", "small"]
    before = everything(".")
    assert_refused(call("prune.py", *common, *SHORT, *options.split()), said)
    assert everything(".") == before


def test_weights_of_other_images_are_refused(tmp_path):
    path = weights_of("vgg")
    stored = torch.load(path)
    torch.save(
        {
            **stored,
            "num_classes": 7,
            "network": build_model("vgg", WIDTHS["vgg"], num_classes=7).state_dict(),
        },
        path,
    )
    assert_refused(
        call("prune.py", "--weights", path, "--target", "50%", "--save", "small", *SHORT),
        "for 7 classes",
    )


# --- rounds, which are pure functions -------------------------------------------------------------


FULL = [4, 6, 5]
EACH = [10, 3, 1]  # what a filter costs


def price(alive: torch.Tensor) -> int:
    return sum(each * width for each, width in zip(EACH, widths_of(alive, FULL)))


def free(limit: int, floors=(1, 1, 1)) -> FreeWidths:
    return FreeWidths(FULL, floors, limit, price, lambda widths: [float(each) for each in EACH])


ALL = torch.ones(sum(FULL), dtype=torch.bool)


def test_filters_go_in_the_order_of_their_score_for_what_they_cost():
    scores = torch.arange(1.0, 16)  # per cost: 0.1 ... 0.4 | 1.67 ... 3.33 | 11 ... 15
    left = free(price(ALL) - 25).after(1.0, scores, ALL)
    assert widths_of(left, FULL) == [1, 6, 5]  # the dear ones, and no more of them than needed
    left = free(33).after(1.0, scores, ALL)
    assert widths_of(left, FULL) == [1, 6, 5] and left[3]  # its best one stays
    assert widths_of(free(30).after(1.0, scores, ALL), FULL) == [1, 5, 5]
    with pytest.raises(OverBudget, match="14"):
        free(13).after(1.0, scores, ALL)


def test_rounds_approach_the_limit_by_equal_factors_and_close_no_more_than_it_takes():
    scores, alive, goal = torch.rand(15, generator=torch.Generator().manual_seed(0)), ALL, free(20)
    for number in range(1, 5):
        left = goal.after(number / 4, scores, alive)
        limit = price(ALL) * (20 / price(ALL)) ** (number / 4)
        assert price(left) <= limit and not (left & ~alive).any()
        assert price(left) > limit - max(EACH)
        alive = left
    assert goal.after(1.0, scores, alive) is alive  # there already


def test_floors_hold_whatever_the_scores():
    left = free(34, floors=(2, 4, 2)).after(1.0, torch.zeros(15), ALL)
    assert widths_of(left, FULL) == [2, 4, 2]


def test_given_widths_are_reached_in_steps_by_the_best_filters():
    scores = torch.tensor([1.0, 4, 2, 3] + [0.0] * 6 + [5.0, 1, 4, 2, 3])
    goal = FixedWidths(FULL, lambda amount: [2, 3, 1], 30, price)
    assert widths_of(goal.after(0.5, scores, ALL), FULL) == [3, 5, 3]
    left = goal.after(1.0, scores, ALL)
    assert left.nonzero().flatten().tolist() == [1, 3, 4, 5, 6, 10]


def test_given_widths_shrink_where_the_filters_that_are_left_cost_more():
    """Each layer costs what all filters together do that either of two keeps."""
    full = [4, 4]
    union = lambda alive: int((alive[:4] | alive[4:]).sum())  # noqa: E731
    scores = torch.tensor([1.0, 2, 3, 4, 4, 3, 2, 1])
    goal = FixedWidths(full, lambda amount: [max(1, amount)] * 2, 2, union)
    left = goal.after(1.0, scores, torch.ones(8, dtype=torch.bool))
    assert widths_of(left, full) == [1, 1] and union(left) == 2


def test_rounding_gives_multiples_within_the_limit_and_uses_what_it_leaves():
    full = [9, 12, 3]
    cost = lambda alive: int(alive.sum())  # noqa: E731
    alive, scores = torch.ones(24, dtype=torch.bool), torch.arange(24.0)
    for limit in range(11, 24):
        inner = FixedWidths(full, lambda amount: [min(6, amount - 6), 5, 3], limit, cost)
        left = RoundedWidths(inner, 4, [4, 4, 3], limit, cost).after(1.0, scores, alive)
        widths = widths_of(left, full)
        assert [width % 4 for width in widths[:2]] == [0, 0] and widths[2] == 3
        assert sum(widths) <= limit and (limit < 19 or sum(widths) == 19)


def test_the_best_of_a_layer_are_those_with_the_highest_scores_of_equals_the_first():
    alive = torch.tensor([True, False, True, True])
    kept = best(torch.tensor([1.0, 9, 1, 1]), alive, [4], [2])
    assert kept.tolist() == [True, False, True, False]


@pytest.mark.parametrize("number, batches", [(30, 100), (3, 3), (1, 7), (30, 31)])
def test_rounds_are_spread_evenly_and_all_done_in_their_time(number, batches):
    rounds = Rounds(number, batches)
    due = [rounds.due(batch) for batch in range(batches + 5)]
    assert due[0] == 0 and due[batches] == number == due[-1]
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(due))
    assert Rounds.over(0.001, 5, 30) == Rounds(1, 1)  # one at least


# --- criteria -------------------------------------------------------------------------------------


class OneGate:
    def __init__(self, weight, grad):
        self.weight = nn.Parameter(torch.tensor(weight))
        self.weight.grad = torch.tensor(grad)


def test_taylor_is_the_mean_squared_change_of_the_loss_since_the_last_round():
    gate = OneGate([1.0, 1.0, 0.0], [2.0, -1.0, 5.0])
    criterion = Taylor([gate])
    criterion.observe()
    gate.weight.grad = torch.tensor([0.0, 3.0, 5.0])
    criterion.observe()
    assert criterion.scores([]).tolist() == [2.0, 5.0, 0.0]
    criterion.observe()
    assert criterion.scores([]).tolist() == [0.0, 9.0, 0.0]
    gate.weight.grad = torch.tensor([0.0, float("inf"), 5.0])
    criterion.observe()
    with pytest.raises(FloatingPointError):
        criterion.scores([])


def test_magnitudes_are_relative_to_what_is_left_of_their_layer():
    norms = [torch.tensor([2.0, 0.0, 4.0]), torch.tensor([0.0, 0.0])]
    alive = [torch.tensor([True, False, True]), torch.tensor([True, True])]
    found = Magnitude(lambda: norms).scores(alive)
    assert torch.allclose(found, torch.tensor([2 / 3, 0, 4 / 3, 0, 0]))


def test_random_scores_differ_by_round_and_seed_and_go_on_as_they_would_have():
    one, other = Random(5, seed=0), Random(5, seed=1)
    first, second = one.scores([]), one.scores([])
    assert not torch.equal(first, second) and not torch.equal(first, other.scores([]))
    resumed = Random(5, seed=0)
    resumed.load_state_dict({"drawn": 1})
    assert torch.equal(resumed.scores([]), second)


# --- widths of a law within an amount -------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("budget", ["params", "macs"])
@pytest.mark.parametrize("law", [False, True])
def test_the_largest_widths_of_a_law_cost_no_more_and_the_next_ones_do(model, budget, law):
    """Against all factors in small steps; some layers would get more than they have."""
    most = [max(3, width // 8) for width in template(model)]
    least = [min(2, width) for width in most]
    cost = costs_when_pruned(model, most, budget)
    numbers = np.random.default_rng(0)
    alpha = numbers.uniform(0.5, 2, len(most)) * most
    beta = numbers.uniform(0.5, 2, len(most)) if law else np.ones(len(most))
    shape = None if law else [int(width) for width in alpha.clip(1)]
    scaling = PowerLaw(list(alpha), list(beta)) if law else None
    factors = np.exp(np.linspace(-4, 3, 20_001))
    of = alpha if law else np.array(shape)
    networks = np.floor(of[:, None] * factors ** beta[:, None] * (1 + 1e-12))
    networks = np.clip(networks, np.array(least)[:, None], np.array(most)[:, None])
    costs = cost(networks)
    for part in (0.1, 0.3, 0.9):
        fewest, all_there = (cost(np.array(widths)[:, None])[0] for widths in (least, most))
        amount = int(fewest + part * (all_there - fewest))
        found = largest_filters_within(amount, cost, scaling, shape, least=least, most=most)
        there = cost(np.array(found)[:, None])[0]
        assert there <= amount and there >= costs[costs <= amount].max()
        assert all(low <= width <= high for low, width, high in zip(least, found, most))
    with pytest.raises(OverBudget):
        largest_filters_within(1, cost, scaling, shape, least=least, most=most)


def test_a_law_without_growth_scales_its_shape():
    cost = costs_when_pruned("vgg", [8] * 8, "params")
    flat = PowerLaw([8.0] * 8, [0.0] * 8)
    found = largest_filters_within(2000, cost, flat, None, least=[1] * 8, most=[8] * 8)
    assert len(set(found)) == 1 and cost(found) <= 2000 < cost([found[0] + 1] * 8)


def test_no_layer_gets_more_than_it_has_and_the_others_get_the_rest():
    def cost(widths):
        return np.array(widths).sum(0)

    for amount, expected in ((10, [5, 5]), (9, [4, 4]), (13, [5, 8]), (30, [5, 20])):
        found = largest_filters_within(amount, cost, None, [1, 1], least=[1, 1], most=[5, 20])
        assert found == expected
    assert largest_filters_within(8, cost, None, [9, 3], least=[2, 3], most=[9, 3]) == [5, 3]
