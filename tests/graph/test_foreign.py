"""Networks as people write them: taken, and right; or refused in one line that names the operation
and where it is."""

import pytest
import torch
import torch.nn.functional as F
from networks import Base, conv
from proofs import PIXELS, prove, prove_gates
from torch import nn
from versions import SIZES_ARE_TRACED

from model.errors import UnreadableNetwork
from model.graph.blueprint import Blueprint
from model.registry import build_model, count_params, template


class Plain(Base):
    """No norm at all; view, mean and arithmetic with shapes instead of modules."""

    def __init__(self):
        super().__init__(12, a=conv(3, 16), b=conv(16, 12))

    def forward(self, x):
        x = F.relu(self.a(x), inplace=True)
        n, c, h, w = x.shape
        x = x.view(n, c, h * w).view(n, c, h, w)
        x = F.max_pool2d(torch.relu(self.b(x)), 2)
        return self.head(x.view(x.size(0), x.size(1), -1).mean(2))


class Unet(Base):
    def __init__(self):
        super().__init__(
            8,
            down=conv(3, 8),
            deep=nn.Sequential(conv(8, 16), nn.BatchNorm2d(16), nn.ReLU()),
            up=conv(24, 8),
        )

    def forward(self, x):
        first = torch.relu(self.down(x))
        deep = self.deep(F.max_pool2d(first, 2))
        up = F.interpolate(deep, size=first.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(torch.relu(self.up(torch.cat((up, first), 1))).mean((2, 3)))


class Twice(Base):
    def __init__(self):
        super().__init__(
            12, stem=conv(3, 12), layer=nn.Sequential(conv(12, 12), nn.BatchNorm2d(12))
        )

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x = torch.relu(self.layer(x))
        return self.head(x.mean(dim=[-1, -2]))


class RepVGG(Base):
    def __init__(self):
        super().__init__(
            12,
            stem=conv(3, 12),
            three=nn.Sequential(conv(12, 12, bias=False), nn.BatchNorm2d(12)),
            one=nn.Sequential(conv(12, 12, 1, bias=False), nn.BatchNorm2d(12)),
            same=nn.BatchNorm2d(12),
            last=conv(12, 9),
        )
        self.head = nn.Linear(9, 10)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(self.three(x) + self.one(x) + self.same(x))
        return self.head(torch.relu(self.last(x)).mean((2, 3)))


class Around(Base):
    """The images go round a block: behind it, joined to what it makes, and once more added to three
    channels of it."""

    def __init__(self):
        super().__init__(8, a=conv(3, 8), b=conv(11, 3), c=conv(3, 8))

    def forward(self, x):
        y = torch.cat([torch.relu(self.a(x)), x], dim=1)
        return self.head(torch.relu(self.c(self.b(y) + x)).mean((2, 3)))


class Squeeze(Base):
    def __init__(self):
        super().__init__(
            16,
            a=nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU()),
            pool=nn.AdaptiveAvgPool2d(1),
            fc=nn.Sequential(
                nn.Linear(16, 4), nn.ReLU(inplace=True), nn.Linear(4, 16), nn.Sigmoid()
            ),
        )

    def forward(self, x):
        x = self.a(x)
        b, c, _, _ = x.size()
        y = self.fc(self.pool(x).view(b, c)).view(b, c, 1, 1)
        return self.head((x * y.expand_as(x)).mean((2, 3)))


class Numbers(Base):
    """Flattened into a wide linear layer by numbers in the code; dropout as a function."""

    def __init__(self):
        super().__init__(24, a=conv(3, 16), fc=nn.Linear(16 * 4 * 4, 24))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.a(x)), 4)
        x = F.relu(self.fc(x.view(-1, 16 * 4 * 4)))
        return self.head(F.dropout(x, 0.5, training=self.training))


class Groups(Base):
    """Group norm, slopes, grouped convolutions and a concatenation."""

    def __init__(self):
        super().__init__(
            24,
            a=conv(3, 16),
            norm=nn.GroupNorm(4, 16),
            slope=nn.PReLU(16),
            b=conv(16, 8),
            c=conv(24, 24, groups=6),
        )

    def forward(self, x):
        x = self.slope(self.norm(self.a(x)))
        x = torch.cat([x, F.leaky_relu(self.b(x))], 1)
        return self.head(F.adaptive_avg_pool2d(F.relu(self.c(x)), 1).flatten(1))


class Tied(Base):
    def __init__(self):
        super().__init__(12, a=conv(3, 12), b=conv(12, 12), c=conv(12, 12))
        self.c.weight = self.b.weight

    def forward(self, x):
        return self.head(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x)))))).mean((2, 3)))


class OptionA(Base):
    """He et al.'s shortcut without parameters: every second pixel, and channels of zeros."""

    def __init__(self):
        super().__init__(
            16,
            a=conv(3, 8),
            b=nn.Sequential(conv(8, 12, stride=2), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 16)),
        )

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.head(
            torch.relu(self.b(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))).mean((2, 3))
        )


class Auxiliary(Base):
    """A second head in training, with dropout of its own, and dropout as a function behind the
    first."""

    def __init__(self):
        super().__init__(12, a=conv(3, 12), b=conv(12, 12), second=nn.Linear(12, 10))

    def forward(self, x):
        x = torch.relu(self.a(x))
        if self.training:
            other = self.second(F.dropout(x.mean((2, 3)), 0.3, self.training))
        x = F.dropout(torch.relu(self.b(x)).mean((2, 3)), 0.5, self.training)
        return (self.head(x), other) if self.training else self.head(x)


class ChannelsLast(Base):
    def __init__(self):
        super().__init__(
            12,
            a=conv(3, 12),
            norm=nn.LayerNorm(12),
            up=nn.Linear(12, 32),
            down=nn.Linear(32, 12),
            end=nn.LayerNorm(12),
        )
        self.scale = nn.Parameter(torch.ones(12) * 0.1)

    def forward(self, x):
        x = self.a(x).permute(0, 2, 3, 1)
        x = x + self.scale * self.down(F.gelu(self.up(self.norm(x))))
        return self.head(self.end(x.mean((1, 2))))


class InPlace(Base):
    """What an operation in place has changed is used by its old name."""

    def __init__(self):
        super().__init__(12, a=conv(3, 12), b=conv(12, 12), c=conv(12, 12))

    def forward(self, x):
        x = self.a(x)
        y = self.b(F.relu(x, inplace=True))
        y += x
        y.add_(self.c(x))
        return self.head(y.mean((2, 3)).squeeze())


class Options(Base):
    """A forward pass with more arguments than the images, shapes as numbers and a buffer of the
    images' channels."""

    def __init__(self):
        super().__init__(16, a=conv(3, 12), b=nn.Conv2d(12, 16, 3, stride=2))
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.shift = nn.Parameter(torch.zeros(12, 1, 1))

    def forward(self, x, mask=None, return_features=False):
        x = torch.relu(self.a(x - self.mean) + self.shift)
        if mask is not None:
            x = x * mask
        x = self.b(x)
        return (
            x
            if return_features
            else self.head(torch.flatten(F.avg_pool2d(x, x.shape[2:]), start_dim=1))
        )


NETWORKS = [
    Plain,
    Unet,
    Twice,
    RepVGG,
    Around,
    Squeeze,
    Numbers,
    Groups,
    Tied,
    OptionA,
    Auxiliary,
    ChannelsLast,
    InPlace,
    pytest.param(Options, marks=SIZES_ARE_TRACED),
]
TEMPLATES = {
    "Plain": [16, 12],
    "Unet": [8, 16, 8],
    "Twice": [12],
    "RepVGG": [12, 9],
    "Around": [8, 8],
    "Squeeze": [16, 4],
    "Numbers": [16, 24],
    "Groups": [4, 2],
    "Tied": [12],
    "OptionA": [12],
    "Auxiliary": [12, 12],
    "ChannelsLast": [12, 32],
    "InPlace": [12],
    "Options": [12, 16],
}


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_it_is_taken_and_right(network):
    blueprint = prove(network)
    assert blueprint.template == TEMPLATES[network.__name__]
    for width in (1, 2):  # where a width of one could be taken for what has one channel always
        prove_gates(
            blueprint, network, [width] * len(blueprint.template), torch.randn(3, 3, PIXELS, PIXELS)
        )


class Norm(Base):
    """A norm behind a layer that has the name of our own gates."""

    def __init__(self, norm):
        super().__init__(12, gates=conv(3, 12), norm=norm, b=conv(12, 12))

    def forward(self, x):
        return self.head(torch.relu(self.b(torch.relu(self.norm(self.gates(x))))).mean((2, 3)))


@pytest.mark.parametrize(
    ("norm", "found"),
    [
        (lambda: nn.BatchNorm2d(12, momentum=None), [12, 12]),
        (lambda: nn.BatchNorm2d(12, track_running_stats=False), [12, 12]),
        (lambda: nn.BatchNorm2d(12, affine=False), [12, 12]),
        (lambda: nn.InstanceNorm2d(12), [12, 12]),
        (lambda: nn.InstanceNorm2d(12, affine=True, track_running_stats=True), [12, 12]),
        (lambda: nn.GroupNorm(3, 12), [3, 12]),
        (lambda: nn.GroupNorm(1, 12), [12, 12]),
        (lambda: nn.GroupNorm(12, 12, affine=False), [12]),
        (lambda: nn.SyncBatchNorm(12), [12, 12]),
        (lambda: nn.LayerNorm((12, PIXELS, PIXELS)), [12, 12]),
        (lambda: nn.Softplus(), [12, 12]),
        (lambda: nn.Hardtanh(), [12, 12]),
    ],
)
@pytest.mark.filterwarnings("ignore:input's size")
def test_a_norm_is_taken_and_right(norm, found):
    assert prove(lambda: Norm(norm())).template == found


@pytest.mark.parametrize("network", [Numbers, Auxiliary])
def test_dropout_drops_in_training_alone(network):
    blueprint = Blueprint(network(), 10, PIXELS)
    for gated in (False, True):
        built, images = (
            blueprint.build(network(), [width - 1 for width in blueprint.template], gated),
            torch.randn(2, 3, PIXELS, PIXELS),
        )
        assert not torch.equal(built.train()(images), built(images))
        assert torch.equal(built.eval()(images), built(images))


# --- never a wrong width: right, or refused -------------------------------------------------------


class Between(Base):
    """An operation between two convolutions of 12 filters, on 12 channels of 4 x 4 pixels (12 along
    two of the three where it says so)."""

    def __init__(self, operation, features: int = 12):
        super().__init__(
            12, a=nn.Sequential(conv(3, 12), nn.AdaptiveAvgPool2d(4)), b=conv(features, 12)
        )
        self.norm1d, self.line, self.twice = (
            nn.BatchNorm1d(12 * 16),
            nn.Conv1d(1, 1, 3, padding=1),
            conv(12, 12),
        )
        self.instance, self.inner = nn.InstanceNorm2d(12, affine=True), nn.Sequential(conv(12, 12))
        self.constant = torch.full((12, 1, 1), 0.5, dtype=torch.float64).float()
        self.operation = operation
        self.register_buffer("ramp", torch.arange(12.0).view(12, 1, 1))

    def forward(self, x):
        return self.head(torch.relu(self.b(self.operation(self, self.a(x)))).mean((2, 3)))


RIGHT = {
    "scalar left": (lambda m, x: 2 - 3 * x, 12),
    "split with sizes": (lambda m, x: torch.cat(torch.split(x, [4, 8], 1), 1), 12),
    "negative index": (lambda m, x: x[:, -6:], 6),
    "half by number": (lambda m, x: x[:, : x.shape[1] // 2], 6),
    "one pixel": (lambda m, x: x[..., 0:1, -1:], 12),
    "roll": (lambda m, x: x.roll(1, 1), 12),
    "roll of pixels": (lambda m, x: torch.roll(x, 1, 2), 12),
    "softmax": (lambda m, x: F.softmax(x, 1) * x, 12),
    "einsum": (lambda m, x: x * torch.einsum("nchw,nchw->n", x, x).view(-1, 1, 1, 1), 12),
    "negative padding": (lambda m, x: F.pad(x, (0, 0, 0, 0, 1, -1)), 12),
    "padding": (lambda m, x: F.pad(x, (1, -1)), 12),
    "zeros joined": (lambda m, x: torch.cat([x, x[:, :1].expand(-1, x.size(1) // 2, 4, 4)], 1), 18),
    "buffer": (lambda m, x: x * m.ramp, 12),
    "arange": (lambda m, x: x + torch.arange(12).view(1, 12, 1, 1), 12),
    "number of channels": (lambda m, x: x / x.shape[1], 12),
    "number by unpacking": (lambda m, x: x * (1 / (x.size()[1] * 2)), 12),
    "norm of lines": (lambda m, x: m.norm1d(x.flatten(1)).view(-1, 12, 4, 4), 12),
    "shuffle": (
        lambda m, x: x.view(x.size(0), 2, 6, 4, 4).transpose(1, 2).reshape(x.size(0), -1, 4, 4),
        12,
    ),
    "two branches": (lambda m, x: m.twice(x) * torch.sigmoid(m.twice(x.relu())), 12),
    "instance norm": (lambda m, x: m.instance(x), 12),
    "attribute": (lambda m, x: getattr(m.inner, "0")(x), 12),
    "constant": (lambda m, x: x * m.constant, 12),
    "cat with axis": (lambda m, x: torch.concatenate([x, x], axis=1), 24),
    "sums with axis": (lambda m, x: x - x.mean(axis=(2, 3), keepdim=True), 12),
    "pad by name": (lambda m, x: F.pad(x, pad=(1, 1, 1, 1), mode="reflect"), 12),
    "expand": (lambda m, x: x[:, :, :1, :1].expand(-1, 12, 4, 4), 12),
    "expand by number": (
        lambda m, x: x.mean((2, 3), keepdim=True).expand(x.size(0), x.size(1), 4, 4),
        12,
    ),
    "lines and back": (
        lambda m, x: x.flatten(2).transpose(1, 2).permute(0, 2, 1).unflatten(2, (4, 4)),
        12,
    ),
}
MIXED = {  # not known to keep channels apart, or counting them
    "zeros": lambda m, x: torch.cat([x[:, :6], torch.zeros(x.shape[0], 6, 4, 4)], 1),
    "max": lambda m, x: torch.max(x, 1, keepdim=True)[0] * x,
    "mean": lambda m, x: x - x.mean(1, keepdim=True),
    "sum": lambda m, x: x - x.sum(-3, keepdim=True),
    "norm": lambda m, x: x / torch.norm(x, dim=1, keepdim=True),
    "normalize": lambda m, x: F.normalize(x),
    "cumsum": lambda m, x: x.cumsum(1),
    "sort": lambda m, x: x.sort(1)[0],
    "getattr": lambda m, x: x.flatten(1).T.T.view(-1, 12, 4, 4),
    "stack": lambda m, x: torch.stack([x, x], 1).sum(1),
    "repeat": lambda m, x: x.repeat(1, 2, 1, 1)[:, :12],
    "repeat_interleave": lambda m, x: x.repeat_interleave(2, 1)[:, :12],
    "pixel_unshuffle": lambda m, x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "pixel_shuffle": lambda m, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "local_response_norm": lambda m, x: F.local_response_norm(x, 3),
    "Conv1d": lambda m, x: x * m.line(x.mean((2, 3)).unsqueeze(1)).squeeze(1)[:, :, None, None],
    "max_pool1d": lambda m, x: (
        F.max_pool1d(x.flatten(2).transpose(1, 2), 3, 1, 1).transpose(1, 2).view(-1, 12, 4, 4)
    ),
    "interpolate": lambda m, x: F.interpolate(x.permute(0, 2, 3, 1), size=(4, 12)).permute(
        0, 3, 1, 2
    ),
    "group_norm": lambda m, x: F.group_norm(x, 3),
    "where": lambda m, x: torch.where(x > 0, x, 0.1 * x),
    "add": lambda m, x: torch.add(x, other=x.flip(1)),
    "glu": lambda m, x: torch.cat([F.glu(x, 1)] * 2, 1),
    "prelu": lambda m, x: F.prelu(x, m.ramp.flatten()),
    "conv2d": lambda m, x: F.conv2d(x, m.b.weight, padding=1),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=SIZES_ARE_TRACED) if name == "split with sizes" else name
        for name in RIGHT
    ],
)
def test_an_operation_is_right(name):
    operation, features = RIGHT[name]
    prove(lambda: Between(operation, features))


@pytest.mark.parametrize("name", MIXED)
def test_an_operation_that_mixes_channels_is_right(name):
    prove(lambda: Between(MIXED[name]))


def shared_memory(m, x):
    y = x[:, :, :2]
    y.add_(1)
    return x


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Between(shared_memory), "add_"),
        (lambda: Between(lambda m, x: x if x.sum() > 0 else -x), "must not depend on the images"),
        (lambda: Between(lambda m, x: x * float(x.mean())), "must not depend on the images"),
        (
            lambda: nn.Sequential(
                nn.utils.parametrizations.weight_norm(conv(3, 8)),
                nn.Flatten(),
                nn.Linear(8 * 64, 10),
            ),
            "parametriz",
        ),
        (
            lambda: nn.Sequential(
                nn.utils.spectral_norm(conv(3, 8)), nn.Flatten(), nn.Linear(8 * 64, 10)
            ),
            "hooks",
        ),
        (
            lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(10)),
            "LazyConv2d (0) has weights without a shape",
        ),
        (
            lambda: nn.Sequential(conv(3, 8), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(512, 10)),
            "PixelShuffle (1)",
        ),
        (lambda: nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(8 * 64, 11)), "logits"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), "no width that could be chosen"),
        (
            lambda: nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(100, 10)),
            "Linear (2) does not take what images of 8 pixels give it",
        ),
        (
            lambda: nn.Sequential(conv(1, 8), nn.Flatten(), nn.Linear(512, 10)),
            "Conv2d (0) does not take",
        ),
    ],
    ids=[
        "memory",
        "control flow",
        "float",
        "weight norm",
        "spectral norm",
        "lazy",
        "PixelShuffle",
        "logits",
        "no width",
        "size",
        "grey",
    ],
)
def test_a_network_that_is_refused_says_why_in_a_line(make, said):
    with pytest.raises(UnreadableNetwork) as refusal:
        Blueprint(make(), 10, 8)
    assert said in str(refusal.value) and "\n" not in str(refusal.value), refusal.value


@pytest.mark.parametrize(
    "result",
    [lambda x: {"out": x}, lambda x: (x, x), lambda x: x.view(-1, 5, 2)],
    ids=["dict", "tuple", "shape"],
)
def test_a_network_that_gives_no_logits_is_refused(result):
    class Other(Plain):
        def forward(self, x):
            return result(super().forward(x))

    with pytest.raises(UnreadableNetwork, match="not the logits"):
        Blueprint(Other(), 10, PIXELS)


# --- files ----------------------------------------------------------------------------------------

FILE = """
import torch
from torch import nn

def good(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

def no_classes():
    return good(10)

def no_module(num_classes):
    return num_classes

def raises(num_classes):
    raise RuntimeError("out of\\nluck")

def other_shape(num_classes):
    return good(num_classes + 1)

number = 3
"""


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        (FILE, "no_classes", "num_classes"),
        (FILE, "no_module", "int, not a torch.nn.Module"),
        (FILE, "raises", "out of luck"),
        (FILE, "other_shape", r"not the logits \(2, 10\)"),
        (FILE, "number", "nothing that can be called"),
        (FILE, "missing", "has no missing"),
        ("def f(:", "f", "SyntaxError"),
        ("import nothing_of_that_name", "f", "nothing_of_that_name"),
        ("1 / 0", "f", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "f", "SystemExit"),
        (None, "f", "there is no file"),
    ],
)
def test_a_file_that_gives_no_network_is_refused_in_a_line(code, name, said, tmp_path):
    path = tmp_path / "net.py"
    if code is not None:
        path.write_text(code)
    for ask in (template, build_model, lambda model: count_params(model, [8])):
        with pytest.raises(UnreadableNetwork, match=said) as refusal:
            ask(f"{path}:{name}")
        assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


def test_a_file_that_gives_a_network_is_a_model(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    name = f"{tmp_path / 'net.py'}:good"
    assert template(name) == [8] and count_params(name, [5]) == 5 * 28 + 6 * 10
    assert build_model(name, [5])(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
