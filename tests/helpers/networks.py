"""Networks to try things on, their sizes, and the names under which they were imported."""

import numpy as np
import torch
import torch.nn.functional as F
from built_in import BUILT_IN
from torch import nn

from model import build_model, template
from model.gate import GateLayer
from model.graph.user_network import find, imported

# a file with a network of a user's: channels that are scaled by what their means say, a sum, a
# layer that nothing follows from
EXCITED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Conv2d(16, 6, 1), nn.Conv2d(6, 16, 1)
        self.body, self.body_norm = nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16)
        self.head, self.unused = nn.Linear(16, num_classes), nn.Linear(3, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        scale = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = (x * scale + self.body_norm(self.body(x))).relu()
        return self.head(x.mean((2, 3)))
"""


def forget() -> None:
    """Forget what was imported, so that a file of the same name is imported anew."""
    for cached in (imported, find):
        cached.cache_clear()


def build(name, filters=None, **options) -> nn.Module:
    """Build a network without memory for its weights: shapes are all that is counted."""
    with torch.device("meta"):
        return build_model(name, filters, **options)


def parameters(network: nn.Module) -> int:
    """Count the parameters that a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def random_filters(name: str, rng: np.random.Generator) -> list[int]:
    """Draw widths of 1 to 40, some repeated, so that some shortcuts are identities."""
    filters = rng.integers(1, 41, len(template(name))).tolist()
    # a third repeat the one before
    for i in range(1, len(filters)):
        if rng.random() < 1 / 3:
            filters[i] = filters[i - 1]
    # so do a third of those that a shortcut joins to one further back
    for inp, out, _ in BUILT_IN[name].shortcuts(32):
        if out > inp + 1 and rng.random() < 1 / 3:
            filters[out] = filters[inp]
    return filters


def measured_macs(network: nn.Module, image_size: int) -> int:
    """Count the multiply-accumulates of one image where they happen."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        per_output = (
            module.in_features if isinstance(module, nn.Linear) else module.weight[0].numel()
        )
        total += output.numel() * per_output

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(add)
    network.eval()(torch.empty(1, 3, image_size, image_size, device="meta"))
    return total


def conv(inp: int, out: int, size: int = 3, **options) -> nn.Conv2d:
    """Make a convolution that keeps the size of the image."""
    return nn.Conv2d(inp, out, size, padding=size // 2, **options)


class Base(nn.Module):
    """Named layers from keyword arguments, and a linear layer of so many features."""

    def __init__(self, features: int, **layers: nn.Module):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(features, 10)


class Sandwich(nn.Module):
    """A convolution of 8 filters, batch norm, what is tried, a convolution of 12."""

    def __init__(self, middle: nn.Module, channels: int = 8, last: bool = False):
        super().__init__()
        self.stem, self.norm, self.middle, self.last = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            middle,
            last,
        )
        self.more, self.head = nn.Conv2d(channels, 12, 3, padding=1), nn.Linear(12, 10)

    def forward(self, x):
        x = F.silu(self.norm(self.stem(x)))
        x = self.middle(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if self.last else self.middle(x)
        return self.head(torch.relu(self.more(x)).mean((2, 3)))


class GatedSandwich(nn.Module):
    """Convolution, norm, gate, an ``operation``, convolution, pooling, linear layer."""

    def __init__(self, operation, channels: int = 16):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), GateLayer(16)
        )
        self.operation = operation
        self.last = nn.Sequential(nn.Conv2d(channels, 16, 1), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(16, 10)

    def forward(self, x):
        return self.classifier(self.last(self.operation(self.first(x))).flatten(1))


class Function(nn.Module):
    """A function as a module that is traced through: the graph holds the function itself."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
