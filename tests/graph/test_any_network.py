"""Small networks composed at random of what is known to be read: counted, built, gated and
compacted right, whatever the order.

And VGG11 given as a plain network, without widths, is searched as ``--model vgg`` is.
"""

import torch
from compaction import batches, train
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from proofs import prove
from torch import nn

from model import build_model
from model.gate import gates_of
from model.graph.blueprint import Blueprint
from model.graph.compaction import Compactor
from utils.pruning import TaylorPruner
from utils.search.iteration import Pruning
from utils.training.loop import sgd

OPERATIONS = [
    "conv",
    "norm",
    "relu",
    "residual",
    "join",
    "images",
    "depthwise",
    "grouped",
    "scale",
    "pool",
    "group norm",
    "layer norm",
    "gate",
    "twice",
    "half",
    "shift",
    "dense",
    "squeeze",
    "split",
    "again",
]


class Composed(nn.Module):
    """A network of these operations, each on the result of the one before it or of an earlier
    one."""

    def __init__(self, plan: list[tuple[str, int]]):
        super().__init__()
        self.plan, self.layers = plan, nn.ModuleList()
        self.scales = nn.ParameterList()
        channels = [8]
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        for operation, number in plan:
            now = channels[-1]
            layer: nn.Module = nn.Identity()
            other = channels[number % len(channels)]
            if operation in ("conv", "grouped"):
                groups = 4 if operation == "grouped" and now % 4 == 0 else 1
                layer, now = (
                    nn.Conv2d(now, 4 * (1 + number % 3), 3, padding=1, groups=groups),
                    4 * (1 + number % 3),
                )
            elif operation in ("residual", "gate"):
                layer = nn.Conv2d(now, other, 1)
                now = other
            elif operation == "depthwise":
                layer = nn.Conv2d(now, now, 3, padding=1, groups=now, bias=number % 2 == 0)
            elif operation == "twice":
                layer = nn.Conv2d(now, now, 3, padding=1)
            elif operation == "squeeze":
                narrow = 1 + number % 3
                one, two = nn.Conv2d(now, narrow, 1), nn.Conv2d(narrow, now, 1)
                layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), one, nn.SiLU(), two, nn.Sigmoid())
            elif operation == "again":  # one layer for two sizes of the same map
                layer, now = nn.Conv2d(now, 4, 1), 8
            elif operation == "split":
                layer = nn.Conv2d(now, 2 * max(1, now // 2), 1)
                now = layer.out_channels
            elif operation == "dense":
                layer, now = nn.Linear(now, 6), 6
            elif operation == "norm":
                layer = nn.BatchNorm2d(now)
            elif operation == "group norm":
                layer = nn.GroupNorm(2 if now % 2 == 0 else 1, now)
            elif operation == "layer norm":
                layer = nn.LayerNorm(now)
            elif operation == "scale":
                self.scales.append(nn.Parameter(torch.linspace(0.5, 1, now).view(now, 1, 1)))
            elif operation == "join":
                now += other
            elif operation == "images":
                now += 3
            elif operation == "half":
                # of one there is no half
                layer, now = (nn.Identity(), now // 2) if now > 1 else (nn.ReLU(), now)
            self.layers.append(layer)
            channels.append(now)
        self.head = nn.Linear(channels[-1], 10)

    def forward(self, images):
        x, scales = self.stem(images), iter(self.scales)
        results = [x]
        for (operation, number), layer in zip(self.plan, self.layers):
            other = results[number % len(results)]
            if operation == "residual":
                x = layer(x) + other
            elif operation == "gate":
                x = torch.sigmoid(layer(x).mean((2, 3), keepdim=True)) * other
            elif operation == "join":
                x = torch.cat([other, x] if number % 2 else [x, other], 1)
            elif operation == "images":
                x = torch.cat([x, images], 1)
            elif operation == "relu":
                x = torch.relu(x)
            elif operation == "scale":
                x = x * next(scales)
            elif operation == "pool":
                x = nn.functional.max_pool2d(x, 3, 1, 1)
            elif operation == "twice":
                x = layer(torch.relu(layer(x)))
            elif operation == "half":
                x = x[:, : x.shape[1] // 2] if isinstance(layer, nn.Identity) else layer(x)
            elif operation == "squeeze":
                x = x * layer(x)
            elif operation == "again":
                small = nn.functional.interpolate(
                    torch.relu(layer(nn.functional.avg_pool2d(x, 2))), size=x.shape[2:]
                )
                x = torch.cat([torch.relu(layer(x)), small], 1)
            elif operation == "split":
                one, two = layer(x).chunk(2, 1)
                x = torch.cat([two, torch.relu(one)], 1)
            elif operation == "shift":
                x = 1 - x / 2
            elif operation in ("layer norm", "dense"):
                x = layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            else:
                x = layer(x)
            results.append(x)
        return self.head(x.mean((2, 3)))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20)), min_size=2, max_size=7))
@example(
    [("gate", 3), ("dense", 9), ("layer norm", 13), ("join", 14), ("layer norm", 2), ("shift", 0)]
)
def test_networks_of_known_operations_are_right_in_whatever_order(plan):
    prove(lambda: Composed([("conv", 1), *plan, ("conv", 2)]), 6)


# --- the same network, as a model of ours and as anybody's ----------------------------------------


def plain_vgg(num_classes: int = 10) -> nn.Module:
    """VGG11 of a sixteenth of its widths, with batch norm, written plainly."""
    layers: list[nn.Module] = []
    for i, (inp, out) in enumerate(zip([3, *WIDTHS], WIDTHS)):
        layers += [nn.Conv2d(inp, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        if i in (0, 1, 3, 5, 7):
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], num_classes)
    )


WIDTHS = [12, 17, 24, 24, 33, 30, 32, 27]


def search(network: nn.Module, compactor) -> Pruning:
    traced = compactor.network if compactor else network
    return Pruning(
        traced,
        sgd(network, 0.02, 0.5, 5e-4),
        traced,
        TaylorPruner(gates_of(network), 1, 12, 0.5),
        compactor,
    )


def test_vgg_as_a_plain_network_has_the_residual_filters_of_model_vgg():
    for compact in (False, True):
        torch.manual_seed(0)
        ours = build_model("vgg", WIDTHS, gated=True).double()
        blueprint = Blueprint(plain_vgg(), 10, 32)
        assert blueprint.template == WIDTHS
        theirs = blueprint.build(plain_vgg(), WIDTHS, True).double()
        weights = [tensor for name, tensor in ours.state_dict().items() if "gate" not in name]
        places = [tensor for name, tensor in theirs.state_dict().items() if "gate" not in name]
        with torch.no_grad():
            for place, weight in zip(places, weights, strict=True):  # in the order of the layers
                place.copy_(weight)
        mine = search(ours, Compactor(ours) if compact else None)
        other = search(theirs, blueprint.cutter(theirs) if compact else None)
        widths = train(mine, batches(32, 20))
        assert train(other, batches(32, 20)) == widths
        assert other.pruner.history == mine.pruner.history and len(mine.pruner.history) > 3
        assert torch.equal(other.pruner.alive, mine.pruner.alive)
        for one, two in zip(gates_of(ours), gates_of(theirs), strict=True):
            assert torch.equal(one.weight, two.weight)
