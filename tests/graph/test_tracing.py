"""What tracing a network shows of it: sizes that code goes by, operations in place, layers spelled
out, names that are claimed."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from networks import Base, Sandwich, conv
from proofs import prove
from torch import nn

from model.errors import UnreadableNetwork
from model.graph.blueprint import Blueprint
from model.graph.trace import trace
from model.graph.whole import known


class Does(nn.Module):
    """What a function does."""

    def __init__(self, function):
        super().__init__()
        self.function, self.other, self.table, self.all = function, conv(8, 8), {}, []
        self.register_buffer("ramp", torch.arange(8.0))
        self.register_buffer("step", torch.tensor(2))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        return self.function(self, x)


# --- in place -------------------------------------------------------------------------------------


def through_a_view(view):
    def function(m, x):
        y = view(x)
        y.mul_(2)
        return m.other(x)

    return function


def into_another(m, x):
    y = m.other(x)
    torch.add(x, 1, out=y)
    return y


VIEWS = {
    "narrow": lambda x: x.narrow(2, 0, 3),
    "select": lambda x: x.select(2, 0),
    "T": lambda x: x.mT,
    "movedim": lambda x: x.movedim(1, 2),
    "unfold": lambda x: x.unfold(2, 2, 2),
    "diagonal": lambda x: x.diagonal(0, 2, 3),
    "view_as": lambda x: x.view_as(x),
    "unflatten": lambda x: x.unflatten(2, (2, 3)),
    "split": lambda x: x.tensor_split(2, 2)[0],
    "real": lambda x: x.real,
    "pos": lambda x: +x,
    "broadcast": lambda x: torch.broadcast_tensors(x, x[:1])[0],
    "data": lambda x: x.data,
    "dropout": lambda x: F.dropout1d(x, 0.5, False),
}


@pytest.mark.parametrize("name", VIEWS)
def test_memory_that_is_changed_by_another_name_is_refused(name):
    with pytest.raises(UnreadableNetwork, match="in place"):
        Blueprint(Sandwich(Does(through_a_view(VIEWS[name]))), 10, 6)


def test_a_result_that_is_written_into_another_is_refused():
    with pytest.raises(UnreadableNetwork, match="writes into what is there"):
        Blueprint(Sandwich(Does(into_another)), 10, 6)


def by_its_old_name(m, x):
    y = m.other(x)
    y.clamp_(max=1).masked_fill_(y > 0.5, 0.5)
    y[:, :, 0]
    y.cumsum_(1)
    return y + F.relu(input=y, inplace=True)


def test_what_is_changed_in_place_is_used_by_its_old_name():
    assert prove(lambda: Sandwich(Does(by_its_old_name)), 6).why_graph == ""


# --- sizes ----------------------------------------------------------------------------------------


def in_training(m, x):
    if m.training and x.sum() > 1e9:
        raise ValueError("its own code is what is trained")
    return x


SIZES = {
    "rank": lambda m, x: x.flatten(1).unflatten(1, (8, 6, 6)) if x.dim() == 4 else x,
    "length": lambda m, x: x if len(x.shape) == 4 else x.unsqueeze(0),
    "odd": lambda m, x: F.pad(x, (0, x.size(-1) % 2, 0, 0)),
    "largest": lambda m, x: F.adaptive_avg_pool2d(x, max(x.shape[2:]) // 2),
    "loop": lambda m, x: sum(x[:, :, row : row + 1] for row in range(x.shape[2])),
    "number": lambda m, x: x * float(x.shape[3] ** -0.5),
    "list": lambda m, x: torch.stack([x, x], 0)[[0, 1][x.size(2) % 2]],
    "unpacked": lambda m, x: x.reshape(*list(x.shape)),
    "any number of images": lambda m, x: x if x.shape[0] >= 1 else -x,
    "all of a list": lambda m, x: torch.cat([*x.unbind(2)], 2).unsqueeze(3),
    "zeros": lambda m, x: torch.cat([x, torch.zeros(x.size(0), 8, 1, 6)], 2),
    "full": lambda m, x: x + torch.full((x.shape[2], 1), 0.5),
    "own sizes": lambda m, x: (
        F.conv2d(x, m.other.weight, padding=m.other.weight.shape[-1] // 2) / m.other.weight.shape[2]
    ),
    "own channels": lambda m, x: m.other(x) / m.other.weight.shape[0],
    "own inputs": lambda m, x: x / m.other.weight.size(1) + m.other(x),
    "buffer": lambda m, x: x * m.ramp.view(-1, 1, 1),
    "what is in a buffer": lambda m, x: x[:, :, :: int(m.step)],
    "same shape": lambda m, x: x + m.other(x) if m.other(x).shape == x.shape else x,
    "largest of rows": lambda m, x: x - torch.max(x, 2, keepdim=True).values,
    "training": in_training,
    "a flag": lambda m, x: x * 2 if m.step > 1 else x,
}
# of the others [8, 12]
FREE = {"own sizes": [8, 8, 12], "rank": [12], "zeros": [12], "own inputs": [12], "buffer": [12]}


@pytest.mark.parametrize("name", SIZES)
def test_code_may_go_by_sizes(name):
    blueprint = prove(lambda: Sandwich(Does(SIZES[name])), 6)
    assert blueprint.template == FREE.get(name, [8, 12])


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x if x.shape[0] > 1 else -x,
        lambda m, x: x if x.mean() > 0 else -x,
        lambda m, x: torch.stack(list(x)),
        lambda m, x: x * len(x),
        lambda m, x: x * int(x.sum()),
    ],
    ids=["number of images", "what is in them", "each image", "length", "integer"],
)
def test_code_that_goes_by_the_images_or_by_how_many_they_are_is_refused(function):
    with pytest.raises(UnreadableNetwork, match="must not depend on the images") as refusal:
        Blueprint(Sandwich(Does(function)), 10, 6)
    assert "test_tracing.py" in str(refusal.value)


def keeps(m, x):
    m.last, m.number = x, x.size(1)
    m.table["x"] = x
    m.all.append(x)
    m.seen += 1
    return x


def test_a_network_is_as_it_was_after_it_was_read():
    network = Sandwich(Does(keeps))
    network.norm.eval()
    before = copy.deepcopy(network)
    trace(network, 6)
    assert (
        vars(network.middle).keys() == vars(before.middle).keys()
        and network.training
        and not network.norm.training
    )
    assert all(
        torch.equal(one, two)
        for one, two in zip(
            network.state_dict().values(), before.state_dict().values(), strict=True
        )
    )
    assert network.middle.table == {} and network.middle.all == []
    pickle.dumps(network.state_dict()), copy.deepcopy(network)


# --- layers that are spelled out ------------------------------------------------------------------


class SameLinear(nn.Linear):
    def forward(self, x):
        bias = self.bias if self.bias is not None else None
        return F.linear(x, self.weight, bias)


class OtherLinear(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight * 2, self.bias)


class NoBias(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight)


class SameConv(nn.Conv2d):
    def forward(self, x, unused=None):
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class SameNorm(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input)


class SameGroups(nn.GroupNorm):
    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def test_a_layer_is_known_where_its_forward_pass_is_that_of_torch():
    for layer, kind in (
        (SameLinear(3, 4), nn.Linear),
        (SameLinear(3, 4, bias=False), nn.Linear),
        (SameConv(3, 4, 1), nn.Conv2d),
        (SameNorm(3), nn.BatchNorm2d),
        (SameGroups(2, 4), nn.GroupNorm),
    ):
        assert issubclass(kind, known(layer))
    assert known(OtherLinear(3, 4)) is known(NoBias(3, 4)) is None


@pytest.mark.parametrize(
    ("make", "template"),
    [
        (lambda: Sandwich(SameConv(8, 8, 3, padding=1, groups=8)), [8, 12]),
        (lambda: Sandwich(SameConv(8, 6, 1), 6), [8, 6, 12]),
        (lambda: Sandwich(SameLinear(8, 6), 6, last=True), [8, 6, 12]),
        (lambda: Sandwich(OtherLinear(8, 6), 6, last=True), [12]),
        (lambda: Sandwich(NoBias(8, 6, bias=False), 6, last=True), [8, 6, 12]),
        (lambda: Sandwich(SameGroups(4, 8)), [4, 12]),
    ],
    ids=["by channel", "conv", "linear", "other", "no bias", "groups"],
)
def test_layers_that_are_spelled_out_are_right(make, template):
    blueprint = prove(make, 6)
    assert (
        blueprint.template == template
        and blueprint.why_graph == blueprint.why_graph_with_gates == ""
    )


# --- names that are claimed -----------------------------------------------------------------------


class Named(Base):
    def __init__(self, name: str, number: int | None = None):
        super().__init__(12, stem=conv(3, 8))
        self.name, self.number = name, number
        self.add_module(name, nn.Sequential(conv(8, 12), nn.ReLU()))
        self.get_submodule(name).add_module("class", nn.Identity())

    def forward(self, x):
        x = self.get_submodule(self.name)(torch.relu(self.stem(x)))
        return self.head(
            x.mean((2, 3)) if self.number is None else x.view(-1, self.number, 36).mean(2)
        )


@pytest.mark.parametrize(
    "name",
    [
        "code",
        "graph",
        "class",
        "meta",
        "print_readable",
        "import",
        "code_",
        "mode_3",
        "gates",
        "selections",
    ],
)
def test_parts_may_have_whatever_names(name):
    blueprint = prove(lambda: Named(name), 6)
    assert (
        blueprint.template == [8, 12]
        and blueprint.why_graph == blueprint.why_graph_with_gates == ""
    )
    network = blueprint.build(Named(name), [3, 5], False)
    assert type(network) is Named and network.state_dict().keys() == Named(name).state_dict().keys()
    file = io.BytesIO()
    torch.save(network, file)
    assert type(torch.load(io.BytesIO(file.getvalue()), weights_only=False)) is Named


@pytest.mark.parametrize("name", ["code", "lambda"])
def test_a_part_of_such_a_name_is_told_where_the_graph_would_have_to_be_run(name):
    blueprint = Blueprint(Named(name, 12), 10, 6)
    with pytest.raises(
        UnreadableNetwork,
        match=f"has a part named ({name}|class), which a network that runs its graph can't have",
    ):
        blueprint.build(Named(name, 12), [3, 5], False)
