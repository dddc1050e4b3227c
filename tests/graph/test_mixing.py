"""Networks with operations that mix channels, read them all, or count them, and layers that are
called as functions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import Sandwich
from proofs import prove, prove_gates
from torch import nn
from versions import OLD

from model.cost import Cost
from model.graph.blueprint import Blueprint

LAYERS = [
    "conv",
    "norm",
    "dense",
    "tokens",
    "F.conv2d",
    "F.conv2d by channel",
    "F.linear",
    "F.group_norm",
    "F.batch_norm",
    "F.layer_norm",
    "F.rms_norm",
    "one channel",
]
MIXING = {
    "flip": lambda x, y: x.flip(1),
    "sort": lambda x, y: x.sort(1)[0],
    "roll": lambda x, y: torch.roll(x, 1, 1),
    "repeat": lambda x, y: x.repeat(1, 2, 1, 1)[:, ::2],
    "cumsum": lambda x, y: x.cumsum(1),
    "softmax": lambda x, y: x.softmax(1),
    "where": lambda x, y: torch.where(x > 0, x, 0.1 * x),
    "mask": lambda x, y: x.masked_fill(x < 0.1, 0.3),
    "mask of sums": lambda x, y: x * (x.sum(1, keepdim=True) > 0),
    "mean": lambda x, y: x - x.mean(1, keepdim=True),
    "CBAM": lambda x, y: (
        x
        * torch.sigmoid(
            torch.cat([x.mean(1, True), x.max(1, keepdim=True)[0]], 1).mean(1, keepdim=True)
        )
    ),
    "norm": lambda x, y: x / (x.norm(p=2, dim=(2, 3), keepdim=True).mean(1, keepdim=True) + 1),
    "normalize": lambda x, y: F.normalize(x, dim=1),
    "variance": lambda x, y: x / (1 + x.var(1, keepdim=True)),
    "logsumexp": lambda x, y: x - x.logsumexp((1, 2, 3), keepdim=True),
    "largest pixel": lambda x, y: x - x.flatten(2).max(2)[0][:, :, None, None],
    "pixels in two": lambda x, y: torch.cat(x.chunk(2, 2)[::-1], 2),
    "rows": lambda x, y: sum(x.unbind(3)).unsqueeze(3) + x,
    "pixels' softmax": lambda x, y: x * x.flatten(2).softmax(-1).view(x.shape),
    "stack": lambda x, y: torch.stack([x, x.relu()], 1).mean(1),
    "stack of two": lambda x, y: torch.stack([x, y], 4).amax(4),
    "movedim": lambda x, y: x.movedim(1, -1).relu().movedim(-1, 1),
    "zeros": lambda x, y: x + torch.zeros_like(x[:, :1]),
    "new": lambda x, y: x + x.new_ones(x.shape[0], 1, x.shape[2], 1),
    "ramp": lambda x, y: x * torch.arange(x.shape[2]).view(1, 1, -1, 1),
    "number of channels": lambda x, y: x / x.shape[1],
    "of both": lambda x, y: x / (x.shape[1] + y.shape[1]),
    "another's number": lambda x, y: x.mean((2, 3)).view(x.size(0), y.size(1), 1, 1) + y,
    "dimensions": lambda x, y: (
        x if x.dim() == 4 and len(x.shape) == 4 and x.size(-1) > 2 else x * 2
    ),
    "size of channels": lambda x, y: x if x.size(1) > 5 else 2 * x,
    "same size": lambda x, y: x.view(*x.shape) * int(x.shape[2] / 2),
}
OPERATIONS = [
    *LAYERS,
    *MIXING,
    "scale",
    "bias",
    "gates",
    "join",
    "residual",
    "weight again",
    "buffer",
]
# chunks of traced size, joined, are what an old torch.fx can't trace
TRACED = [name for name in OPERATIONS if not (OLD and name == "pixels in two")]


class Mixed(nn.Module):
    """A network of these operations, each on the result of the one before it and on an earlier
    one."""

    def __init__(self, plan: list[tuple[str, int]]):
        super().__init__()
        self.plan, self.layers, self.weights, self.others = (
            plan,
            nn.ModuleList(),
            nn.ParameterList(),
            [],
        )
        channels = [8]
        self.stem, self.once = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        for operation, number in plan:
            now = channels[-1]
            alike = channels[number % len(channels)] == now or operation == "of both"
            self.others.append(number % len(channels) if alike else len(channels) - 1)
            layer: nn.Module = nn.Identity()
            if operation in ("conv", "F.conv2d"):
                layer, now = (
                    nn.Conv2d(now, 4 * (1 + number % 3), 3, padding=1, bias=number % 2 == 0),
                    4 * (1 + number % 3),
                )
            elif operation in ("dense", "F.linear"):
                layer, now = nn.Linear(now, 6), 6
            elif operation == "one channel":
                layer = nn.Conv2d(now, 1, 1)
            elif operation == "F.conv2d by channel":
                layer = nn.Conv2d(now, now, 3, padding=1, groups=now)
            elif operation == "tokens":
                layer = nn.Linear(36, 36, bias=number % 2 == 0)
            elif operation in ("norm", "F.batch_norm"):
                layer = nn.BatchNorm2d(now)
            elif operation == "F.group_norm":
                layer = nn.GroupNorm(2 if now % 2 == 0 and number % 2 else 1, now)
            elif operation in ("F.layer_norm", "F.rms_norm"):
                layer = nn.LayerNorm(now)
            elif operation == "residual":
                layer, now = (
                    nn.Conv2d(now, channels[number % len(channels)], 1),
                    channels[number % len(channels)],
                )
            elif operation in ("scale", "bias", "gates"):
                self.weights.append(nn.Parameter(torch.linspace(0.5, 1, now)))
            elif operation == "buffer":
                layer.register_buffer("ones", torch.full((1, 2, 6, 6), 0.5))
                now += 2
            elif operation == "join":
                now += channels[number % len(channels)]
            self.layers.append(layer)
            channels.append(now)
        self.head = nn.Linear(channels[-1], 10)

    def forward(self, images):
        x, weights = self.stem(images), iter(self.weights)
        results = [x]
        for (operation, number), layer, place in zip(self.plan, self.layers, self.others):
            other = results[number % len(results)]
            if operation in MIXING:
                x = MIXING[operation](x, results[place])
            elif operation in ("conv", "norm"):
                x = layer(x)
            elif operation == "residual":
                x = layer(x) + other
            elif operation == "one channel":
                x = x * torch.sigmoid(layer(x))
            elif operation == "join":
                x = torch.cat([x, other], 1)
            elif operation == "buffer":
                x = torch.cat([x, layer.ones.expand(x.size(0), -1, -1, -1)], 1)
            elif operation == "scale":
                x = next(weights).view(1, -1, 1, 1) * x
            elif operation == "bias":
                x = x + next(weights)[None, :, None, None]
            elif operation == "gates":
                x = torch.sigmoid(next(weights)).unsqueeze(-1).unsqueeze(-1) * x
            elif operation == "tokens":
                x = layer(x.flatten(2)).view(x.shape)
            elif operation == "dense":
                x = layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            elif operation == "F.linear":
                x = F.linear(x.permute(0, 2, 3, 1), layer.weight, layer.bias).permute(0, 3, 1, 2)
            elif operation in ("F.conv2d", "F.conv2d by channel"):
                x = F.conv2d(x, layer.weight, layer.bias, padding=1, groups=layer.groups)
            elif operation == "F.group_norm":
                x = F.group_norm(x, layer.num_groups, layer.weight, layer.bias)
            elif operation == "F.batch_norm":
                x = F.batch_norm(
                    x,
                    layer.running_mean,
                    layer.running_var,
                    layer.weight,
                    layer.bias,
                    self.training,
                )
            elif operation == "F.layer_norm":
                x = F.layer_norm(
                    x.transpose(1, 3), layer.normalized_shape, layer.weight, layer.bias
                ).transpose(1, 3)
            elif operation == "F.rms_norm":
                x = F.rms_norm(x.transpose(1, 3), layer.normalized_shape, layer.weight).transpose(
                    1, 3
                )
            elif operation == "weight again" and place == 0:
                x = F.conv2d(self.once(x).relu(), self.once.weight, padding=1)
            results.append(x)
        return self.head(x.mean((2, 3)))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(TRACED), st.integers(0, 20)), min_size=2, max_size=6))
def test_networks_that_mix_channels_are_right_in_whatever_order(plan):
    blueprint = prove(lambda: Mixed([("conv", 1), *plan, ("conv", 2)]), 6)
    assert blueprint.why_graph == ""  # at other widths its own code does what was read


# --- as people write them -------------------------------------------------------------------------


class Spatial(nn.Module):
    """Spatial attention of CBAM, by torch.max and its places, as most copies of it are written."""

    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x):
        largest, _ = torch.max(x, dim=1, keepdim=True)
        return x * torch.sigmoid(
            self.look(torch.cat([torch.mean(x, dim=1, keepdim=True), largest], dim=1))
        )


class Selective(nn.Module):
    """Selective kernels: two convolutions, and a softmax of how much of each."""

    def __init__(self, channels: int):
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Conv2d(channels, channels, size, padding=size // 2) for size in (1, 3)
        )
        self.squeeze, self.choose = (
            nn.Linear(channels, 4),
            nn.ModuleList(nn.Linear(4, channels) for _ in range(2)),
        )

    def forward(self, x):
        paths = torch.stack([path(x) for path in self.paths], dim=1)
        seen = torch.relu(self.squeeze(paths.sum(dim=1).mean((2, 3))))
        weights = torch.softmax(torch.stack([choose(seen) for choose in self.choose], dim=1), dim=1)
        return (paths * weights[..., None, None]).sum(dim=1)


class ECA(nn.Module):
    """A convolution along the channels."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = (
            self.line(x.mean((2, 3)).unsqueeze(-1).transpose(-1, -2))
            .transpose(-1, -2)
            .unsqueeze(-1)
        )
        return x * torch.sigmoid(y).expand_as(x)


class GRN(nn.Module):
    """Global response norm, channels last, of ConvNeXt V2."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma, self.beta = (
            nn.Parameter(torch.full((1, 1, 1, channels), 0.5)),
            nn.Parameter(torch.zeros(1, 1, 1, channels)),
        )

    def forward(self, x):
        size = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (size / (size.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x


class ChannelsFirst(nn.Module):
    """The layer norm that ConvNeXt's authors wrote, by hand over the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return (
            self.weight[:, None, None] * ((x - mean) / torch.sqrt(variance + 1e-6))
            + self.bias[:, None, None]
        )


class Normalized(nn.Module):
    """A layer norm that keeps its size as a number."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias, self.normalized_shape = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
            (channels,),
        )

    def forward(self, x):
        return F.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, 1e-6
        ).permute(0, 3, 1, 2)


class Standardized(nn.Conv2d):
    """A weight that is computed from the parameter."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / (
            self.weight.std((1, 2, 3), keepdim=True) + 1e-5
        )
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class NormAndActivation(nn.BatchNorm2d):
    def forward(self, x):
        return F.leaky_relu(super().forward(x), 0.1)


class Affine(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.alpha, self.beta = (
            nn.Parameter(torch.full((1, channels, 1, 1), 0.7)),
            nn.Parameter(torch.full((1, channels, 1, 1), 0.1)),
        )

    def forward(self, x):
        return torch.addcmul(self.beta, self.alpha, x)


class Joined(nn.Module):
    """What is learned for each channel of two results side by side; they are asked for their
    shapes."""

    def __init__(self):
        super().__init__()
        self.more = nn.Conv2d(8, 12, 3, padding=1)
        self.gamma, self.beta = (
            nn.Parameter(torch.linspace(0.5, 1, 20)),
            nn.Parameter(torch.linspace(0, 1, 20).view(20, 1, 1)),
        )

    def forward(self, x):
        y = torch.cat([x, self.more(x)], 1)
        z = torch.sigmoid(self.gamma).view(-1, 1, 1) * y + self.beta
        assert z.shape == y.shape and z.size(1) == y.size(1)
        return z


class Blur(nn.Module):
    """A kernel in a buffer, for each channel."""

    def __init__(self, channels: int, each: bool):
        super().__init__()
        self.each, self.channels = each, channels
        self.register_buffer("kernel", torch.full((1 if each else channels, 1, 3, 3), 1 / 9))

    def forward(self, x):
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1) if self.each else self.kernel
        return F.conv2d(
            F.pad(x, (1, 1, 1, 1), "reflect"),
            kernel,
            groups=x.shape[1] if self.each else self.channels,
        )


class LayerScale(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.layer, self.gamma = (
            nn.Conv2d(channels, channels, 1),
            nn.Parameter(torch.full((channels,), 0.3)),
        )

    def forward(self, x):
        return x + self.gamma.reshape(1, -1, 1, 1).mul(self.layer(x))


class Grid(nn.Module):
    """Code that goes by the sizes of its results."""

    def forward(self, x):
        b, _, h, w = x.shape
        assert h == w and len(x.shape) == 4, "square images only"
        if h % 2:
            x = F.pad(x, (0, 1, 0, 1))
        rows = torch.arange(x.shape[-2]).view(1, 1, -1, 1) / max(x.shape[-2:])
        for _ in range(x.shape[-1] // 3):
            x = x + rows
        return torch.cat([x, torch.zeros(b, 2, *x.shape[2:])], 1)[:, :, :h, :w]


class Kept(nn.Module):
    """What a forward pass leaves behind in its module."""

    def forward(self, x):
        self.seen = x.detach().mean()
        self.number = x.size(0)
        return x


# what it is, and the widths that can be chosen: of stem, of what is between, of the last
# convolution
WRITTEN = {
    "CBAM": (lambda: Sandwich(Spatial()), [8, 12]),
    "SK": (lambda: Sandwich(Selective(8)), [8, 8, 4, 12]),
    "ECA": (lambda: Sandwich(ECA()), [12]),
    "GRN": (lambda: Sandwich(GRN(8), last=True), [8, 12]),
    "layer norm by hand": (lambda: Sandwich(ChannelsFirst(8)), [8, 12]),
    "layer norm with its size": (lambda: Sandwich(Normalized(8)), [8, 12]),
    "standardized": (lambda: Sandwich(Standardized(8, 8, 3, padding=1)), [12]),
    "norm and activation": (lambda: Sandwich(NormAndActivation(8)), [8, 12]),
    "affine behind a concatenation": (lambda: Sandwich(Joined(), 20), [8, 12, 12]),
    "affine": (lambda: Sandwich(Affine(8)), [8, 12]),
    "blur": (lambda: Sandwich(Blur(8, False)), [8, 12]),
    "blur, expanded": (lambda: Sandwich(Blur(8, True)), [12]),
    "layer scale": (lambda: Sandwich(LayerScale(8)), [8, 12]),
    "sizes": (lambda: Sandwich(Grid(), 10), [8, 12]),
    "kept": (lambda: Sandwich(Kept()), [8, 12]),
    "shuffle": (lambda: Sandwich(nn.PixelShuffle(2), 2), [12]),
    "unshuffle": (lambda: Sandwich(nn.PixelUnshuffle(2), 32), [12]),
    "groups": (lambda: Sandwich(nn.ChannelShuffle(2)), [12]),
    "unfold": (
        lambda: Sandwich(nn.Sequential(nn.Unfold(3, padding=1), nn.Unflatten(2, (6, 6))), 72),
        [12],
    ),
    "softmax": (lambda: Sandwich(nn.Softmax2d()), [12]),
    "softmax of rows": (lambda: Sandwich(nn.Softmax(dim=3)), [8, 12]),
    "places": (lambda: Sandwich(Pooled()), [12]),
}


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x):
        return self.lstm(x.flatten(2).transpose(1, 2))[0].transpose(1, 2).view(-1, 8, 6, 6)


class Pooled(nn.Module):
    def forward(self, x):
        x, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(x, places, 2)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write_is_right_and_its_widths_are_free_where_they_can_be(name):
    make, template = WRITTEN[name]
    blueprint = prove(make, 6)
    assert blueprint.template == template
    # which has the number of channels in its code
    assert (blueprint.why_graph == "") == (name != "blur")


def test_a_recurrent_layer_keeps_its_width_and_is_counted():
    """torch.utils.flop_counter sees its products on shapes alone."""
    blueprint, cost = Blueprint(Sandwich(Rows()), 10, 6), Cost()
    assert blueprint.template == [12]
    prove_gates(blueprint, lambda: Sandwich(Rows()), [7], torch.randn(3, 3, 6, 6))
    blueprint.count(cost, [7])
    built = blueprint.build(Sandwich(Rows()), [7], False)
    assert sum(parameter.numel() for parameter in built.parameters()) == cost.params
    assert cost.macs == 36 * (27 * 8 + 2 * 8 * 32 + 72 * 7) + 7 * 10
