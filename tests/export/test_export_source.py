"""Networks as plain PyTorch source: the same outputs, the same step of training, the same names of
weights."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

from model import MODELS, build_model, uniform_filters
from utils.export import alone
from utils.export.compare import training_difference
from utils.export.source.layers import arguments, torch_class
from utils.export.source.literals import NotWritableError
from utils.export.source.write import Written, write_source


def made(written: Written) -> nn.Module:
    """The network of a source, with the weights that go with it."""
    assert not any(
        word in written.text for word in ("torch.fx", "import model", "from model", "utils")
    )
    names: dict = {}
    exec(written.text, names)
    network = names["Network"]()
    network.load_state_dict(written.state)
    return network


def assert_the_same(network: nn.Module, images, **options) -> Written:
    """In evaluation, and in a step of training."""
    written = write_source(network.eval(), "A network.", "Shapes.", **options)
    found = made(written).eval()
    with torch.no_grad():
        expected = network(images)
        assert (found(images) - expected).abs().max() <= 1e-6 * expected.abs().max()
    task = {"images": [images], "labels": torch.arange(len(images)) % expected.shape[1]}
    ran = alone.training_step(found, images, task["labels"])
    assert "error" not in ran and ran["gradients"] and training_difference(ran, network, task) == ""
    return written


# --- networks that people have --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, lines",
    [
        ("mobilenet_v3_small", 200),
        ("shufflenet_v2_x0_5", 140),
        ("regnet_x_400mf", 180),
        ("squeezenet1_0", 70),
        pytest.param("densenet121", 300, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", 120, marks=pytest.mark.slow),
        pytest.param("swin_t", 200, marks=pytest.mark.slow),
        pytest.param("swin_v2_t", 210, marks=pytest.mark.slow),
    ],
)
def test_torchvisions_networks(name, lines):
    """With dropout, and branches that are left out at random, under the names that their weights
    have."""
    torch.manual_seed(0)
    network = zoo.make(name)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    written = assert_the_same(network, torch.randn(2, 3, 64, 64))
    assert written.state.keys() == network.state_dict().keys() and written.network is network
    # blocks that differ in numbers alone share a class
    assert len(written.text.splitlines()) <= lines


@pytest.mark.parametrize("name", MODELS)
def test_the_projects_own_networks(name):
    network = build_model(
        name, [width + number % 3 for number, width in enumerate(uniform_filters(name, 0.125))]
    )
    written = assert_the_same(network, torch.randn(4, 3, 32, 32))
    assert written.state.keys() == network.state_dict().keys()
    assert [line for line in written.text.splitlines() if line.startswith("class Network")]


def test_a_head_for_training_alone_is_left_out():
    network = zoo.make("googlenet")
    written = write_source(network.eval(), "", "")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(made(written).eval()(images), network(images))
        assert torch.equal(written.network(images), network(images))
    used = {name for name in network.state_dict() if not name.startswith("aux")}
    assert used == written.state.keys() == written.network.state_dict().keys()


# --- layers ---------------------------------------------------------------------------------------

LAYERS = [
    nn.Conv2d(
        8,
        6,
        (3, 1),
        stride=(2, 1),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
        bias=False,
        padding_mode="reflect",
    ),
    nn.Conv2d(8, 6, 3, padding="same", padding_mode="circular"),
    nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2, bias=False, dilation=2),
    nn.BatchNorm2d(8, eps=1e-3, momentum=None),
    nn.BatchNorm2d(8, affine=False),
    nn.BatchNorm2d(8, track_running_stats=False, momentum=0.3),
    nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    nn.GroupNorm(2, 8, eps=0.1),
    nn.GroupNorm(2, 8, affine=False),
    nn.LayerNorm([8, 8, 8], bias=False),
    nn.LayerNorm(8, elementwise_affine=False),
    nn.PReLU(8),
    nn.LeakyReLU(0.3, True),
    nn.ELU(0.5),
    nn.GELU("tanh"),
    nn.Hardtanh(-2, 3),
    nn.ReLU6(),
    nn.Softplus(2, 10),
    nn.Softmax(1),
    nn.Threshold(0.1, -2),
    nn.GLU(1),
    nn.Sigmoid(),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d(2),
    nn.AvgPool2d((2, 3), count_include_pad=False),
    nn.AvgPool2d(2, 1, divisor_override=3),
    nn.AdaptiveAvgPool2d((None, 3)),
    nn.AdaptiveMaxPool2d(2),
    nn.LPPool2d(2, 3),
    nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
    nn.UpsamplingNearest2d(size=5),
    nn.ZeroPad2d((1, 2, 0, 1)),
    nn.ConstantPad2d(1, 0.5),
    nn.ReflectionPad2d(2),
    nn.PixelShuffle(2),
    nn.PixelUnshuffle(2),
    nn.ChannelShuffle(4),
    nn.LocalResponseNorm(3, k=2.0),
    nn.Dropout(0.3),
    nn.Dropout2d(0.2, inplace=True),
    nn.Flatten(2),
    nn.Unflatten(1, (2, 4)),
    nn.Linear(8, 3, bias=False),
    nn.RMSNorm(8),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: str(layer)[:40])
def test_layers_are_made_again_with_all_that_made_them(layer):
    network = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Flatten(), nn.LazyLinear(5))
    images = torch.randn(4, 3, 8, 8)
    network.eval()(images)
    found = made(assert_the_same(network, images))
    assert repr(arguments(found[1])) == repr(arguments(layer)) and torch_class(found[1]) is type(
        layer
    )


class Renamed(nn.Conv2d):
    """A convolution of another name: nothing else."""


class Scaled(nn.Conv2d):
    def _conv_forward(self, *args):
        return 2 * super()._conv_forward(*args)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.flatten(2).transpose(1, 2))[0].mean(1))


def test_a_class_that_only_has_another_name_is_what_it_is_of():
    written = assert_the_same(
        nn.Sequential(Renamed(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), torch.randn(3, 3, 8, 8)
    )
    assert "nn.Conv2d(3, 4, 3)" in written.text


CANT = {
    "LSTM": Recurrent(),
    "Scaled": nn.Sequential(Scaled(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)),
    "float64": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).double(),
}


@pytest.mark.parametrize("naming", CANT)
def test_what_cant_be_written_is_named(naming):
    with pytest.raises(NotWritableError, match=naming):
        write_source(CANT[naming].eval(), "", "")


def test_timms_norms_with_an_activation_and_its_dropped_paths():
    """Written as timm's are; the activation is a layer below the norm, as there."""

    class BatchNormAct2d(nn.BatchNorm2d):
        def __init__(self, channels, act):
            super().__init__(channels, eps=1e-3)
            self.drop, self.act = nn.Identity(), act

        def forward(self, x):
            if self.training:
                self.num_batches_tracked.add_(1)
            x = F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
            return self.act(self.drop(x))

    class DropPath(nn.Module):
        def __init__(self, drop_prob):
            super().__init__()
            self.drop_prob, self.scale_by_keep = drop_prob, True

        def forward(self, x):
            if self.drop_prob == 0.0 or not self.training:
                return x
            kept = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - self.drop_prob)
            return x * kept.div_(1 - self.drop_prob)

    class Branch(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.conv, self.norm, self.drop_path = (
                nn.Conv2d(8, 8, 1),
                BatchNormAct2d(8, act),
                DropPath(0.5),
            )

        def forward(self, x):
            return x + self.drop_path(self.norm(self.conv(x)))

    BatchNormAct2d.__module__ = DropPath.__module__ = "timm.layers.made_up"
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        BatchNormAct2d(8, nn.SiLU()),
        nn.Conv2d(8, 8, 1),
        BatchNormAct2d(8, nn.Identity()),  # as at the end of a linear bottleneck
        Branch(nn.PReLU()),
        Branch(nn.PReLU()),
        nn.Flatten(),
        nn.Linear(8 * 36, 3),
    )
    names, original, images = (
        network.state_dict().keys(),
        copy.deepcopy(network),
        torch.randn(8, 3, 6, 6),
    )
    written = write_source(network.eval(), "", "")
    assert (
        written.state.keys() == names
        and "Branch()" in written.text
        and "Network(nn.Sequential)" in written.text
    )
    found, task = made(written), {"images": [images], "labels": torch.arange(8) % 3}
    with torch.no_grad():
        assert torch.allclose(found.eval()(images), original.eval()(images), atol=1e-6)
    assert (
        training_difference(alone.training_step(found, images, task["labels"]), original, task)
        == ""
    )


# --- forward passes -------------------------------------------------------------------------------


class Net(nn.Module):
    """Features, and a head; a forward pass of its own between them."""

    def __init__(self, channels=8):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, channels, 3, padding=1), nn.Linear(channels, 4)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)).mean((2, 3)))


class Arithmetic(Net):
    def middle(self, x):
        n, c, h, w = x.shape
        y = -x * 2 + 3 - x / 2.5 - (1 - x) ** 2
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, x.size(2), -1)
        y = (
            torch.where(y > 0.5, y, y.clamp(min=-1.0))
            + y[:, :, :1] * x[:, 1:2, ::2].mean()
            + x[..., -1:]
        )
        a, b = y.chunk(2, 1)
        return torch.cat(
            [F.gelu(a, approximate="tanh"), b.abs() @ b.abs().transpose(-1, -2)], dim=1
        )


class Functions(Net):
    def __init__(self):
        super().__init__()
        self.p = 0.25

    def middle(self, x):
        x = F.dropout(F.relu(x, inplace=True), self.p, training=self.training)
        x = F.max_pool2d(x, 3, stride=2, padding=1) + F.avg_pool2d(x, kernel_size=2)
        x = F.leaky_relu(F.interpolate(x, scale_factor=2, mode="nearest"), 0.2)
        return (
            F.dropout2d(F.normalize(x, dim=1), 0.1, self.training)
            .sigmoid()
            .permute(0, 1, 3, 2)
            .contiguous()
        )


class Loose(Net):
    """Weights, buffers and constants that are no layer's."""

    def __init__(self):
        super().__init__()
        self.gain, self.scalar = nn.Parameter(torch.rand(8, 1, 1)), nn.Parameter(torch.tensor(0.5))
        self.register_buffer("kept", torch.rand(1, 8, 1, 1))
        self.register_buffer("small", torch.tensor([0.25, float("inf"), -1.5]), persistent=False)
        self.register_buffer("large", torch.rand(8, 10, 10), persistent=False)
        self.plain = torch.arange(8)
        self.inner = nn.Module()
        self.inner.weight = nn.Parameter(torch.rand(8, 8, 1, 1))

    def middle(self, x):
        x = x * self.gain + self.kept * self.scalar + self.large + self.small[2]
        return (
            F.conv2d(x[:, self.plain], self.inner.weight)
            + torch.tensor([[[0.5]], [[2.0]]]).sum()
            + torch.arange(100.0).mean()
        )


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.other.weight = self.one.weight

    def middle(self, x):
        return self.other(torch.relu(self.one(x))) + F.conv2d(x, self.one.weight)


class Block(nn.Module):
    """Called once, several times, or inside of others."""

    def __init__(self, inp, out, drop):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(inp, out, 1), nn.BatchNorm2d(out), drop

    def forward(self, x):
        return F.dropout(torch.relu(self.norm(self.conv(x))), self.drop, self.training)


class Nested(Net):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            [Block(8, 8, 0.0), Block(8, 6, 0.1), Block(6, 6, 0.2), Block(6, 8, 0.5)]
        )
        self.again = Block(8, 8, 0.3)
        self.named = nn.ModuleDict(
            {"class": nn.Conv2d(8, 8, 1), "train it": nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1))}
        )
        self.gaps = nn.Sequential(nn.Identity(), nn.Conv2d(8, 8, 1), nn.Identity(), nn.ReLU())

    def middle(self, x):
        first = x
        for block in self.blocks:
            x = block(x)
        x = self.again(self.again(x)) + first
        return self.gaps(self.named["train it"](self.named["class"](x)))


class Attention(Net):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True, add_bias_kv=True)

    def middle(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return (
            self.attend(tokens, tokens, tokens, need_weights=False)[0]
            .transpose(1, 2)
            .reshape(x.shape)
        )


class Builtins(Net):
    """Its layers have the names of what the source uses."""

    def __init__(self):
        super().__init__()
        self.torch, self.F, self.nn, self.max, self.Tensor = (nn.Conv2d(8, 8, 1) for _ in range(5))

    def middle(self, x):
        size = max(2, 1) * x.size(1)
        return torch.relu(self.Tensor(F.silu(self.nn(self.max(self.F(self.torch(x))))))) * (
            size // 8
        ) + math_of(x)


def math_of(x):
    return torch.abs(x) * max(1.0, 2.0)


@pytest.mark.parametrize(
    "network",
    [Arithmetic(), Functions(), Loose(), Tied(), Nested(), Attention(), Builtins()],
    ids=lambda network: type(network).__name__,
)
def test_forward_passes(network):
    torch.manual_seed(1)
    names = set(network.state_dict())
    written = assert_the_same(network, torch.randn(4, 3, 10, 10))
    assert (
        names <= written.state.keys()
        and written.state.keys() == written.network.state_dict().keys()
    )
    assert max(map(len, written.text.splitlines())) <= 140


def test_weights_that_are_one_stay_one():
    network = made(assert_the_same(Tied(), torch.randn(4, 3, 8, 8)))
    assert network.one.weight is network.other.weight


def test_frozen_weights_stay_frozen_and_layers_held_in_evaluation_stay_so():
    class Held(Net):
        def __init__(self):
            super().__init__()
            self.norm, self.more = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            self.stem.weight.requires_grad_(False)

        def middle(self, x):
            return self.more(self.norm(x))

        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

    network = Held()
    found = made(
        assert_the_same(network, torch.randn(4, 3, 8, 8), frozen=["stem.weight"], held=["norm"])
    )
    assert not found.stem.weight.requires_grad and found.head.weight.requires_grad
    found.train()
    assert (found.training, found.norm.training, found.more.training) == (True, False, True)
    assert not found.eval().more.training


def test_names_of_layers_are_those_of_values_and_blocks_that_are_alike_share_a_class():
    text = write_source(zoo.make("resnet18").eval(), "ResNet.", "Shapes.").text
    assert "self.layer3 = nn.Sequential(BasicBlock2(128, 256), BasicBlock(256))" in text
    assert "conv1 = self.conv1(x)" in text and text.count("class ") == 3 and '"""ResNet."""' in text


def test_a_training_step_that_differs_is_told():
    class Stopped(Net):
        def middle(self, x):
            with torch.no_grad():
                return torch.relu(x)

    network, images = Stopped().eval(), torch.randn(4, 3, 8, 8)
    found, task = (
        made(write_source(network, "", "")),
        {"images": [images], "labels": torch.arange(4)},
    )
    assert "stem." in training_difference(
        alone.training_step(found, images, task["labels"]), network, task
    )


def test_what_runs_alone_imports_nothing_of_the_project():
    source = Path(alone.__file__).read_text()
    assert "from utils" not in source and "from model" not in source
