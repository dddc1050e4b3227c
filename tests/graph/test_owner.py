"""A network given by name stays its owner's: its class, its code, its numbers, in training too; or
it is said why not."""

import copy
import io
import random

import pytest
import torch
import torch.nn.functional as F
from networks import Base, conv
from torch import nn
from torchvision import models
from torchvision.models.convnext import LayerNorm2d

from model.cost import Cost
from model.errors import UnreadableNetwork
from model.gate import GatedBatchNorm2d, GateLayer, gates_of
from model.graph.blueprint import Blueprint
from model.registry import build_model
from utils.errors import UserError
from utils.training import compare
from utils.training.loop import sgd

PIXELS = 8


def read(make, classes: int = 10, pixels: int = PIXELS) -> Blueprint:
    return Blueprint(make(), classes, pixels)


def halves(blueprint: Blueprint) -> list[int]:
    return [max(1, units // 2) for units in blueprint.template]


def pictures(number: int = 4, pixels: int = PIXELS) -> torch.Tensor:
    return torch.randn(number, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))


def reasons(blueprint: Blueprint) -> str:
    return "\n".join(line for line in blueprint.described() if line.startswith("fixed: "))


# --- the same object ------------------------------------------------------------------------------


class Labelled(Base):
    """With attributes of its own, a list of modules and a layer that is never used."""

    def __init__(self):
        super().__init__(
            12,
            stem=nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU()),
            last=conv(16, 12),
            idle=conv(5, 7),
        )
        self.label, self.blocks = (
            {"trained on": "photographs"},
            nn.ModuleList([self.stem, self.last]),
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def test_it_is_the_object_that_its_own_code_made():
    blueprint = read(Labelled)
    for gated in (False, True):
        made = Labelled()
        made.label["for"] = "a test"
        built = blueprint.build(made, [5, 7], gated)
        assert built is made and type(built) is Labelled and built.label["for"] == "a test"
        assert (
            built.blocks[0] is built.stem
            and built.stem[0].out_channels == built.last.in_channels == 5
        )
        gates = {name for name in built.state_dict() if ".gate." in name}
        assert (
            list(Labelled().state_dict())
            == [name for name in built.state_dict() if name not in gates]
            and bool(gates) == gated
        )
        assert built(pictures()).shape == (4, 10)
    cost = Cost()
    blueprint.count(cost, [5, 7])
    # the idle layer, too
    assert cost.params == sum(
        p.numel() for p in blueprint.build(Labelled(), [5, 7], False).parameters()
    )


def test_a_network_of_torchvision_is_saved_and_copied_as_the_original():
    name = "torchvision.models:squeezenet1_1"
    small = build_model(name, [8] * 25, image_size=64).eval()
    assert type(small) is models.SqueezeNet
    stream = io.BytesIO()
    torch.save(small, stream)
    stream.seek(0)
    for other in (copy.deepcopy(small), torch.load(stream, weights_only=False)):
        assert type(other) is models.SqueezeNet
        assert torch.equal(other(pictures(2, 64)), small(pictures(2, 64)))


def test_a_copy_of_a_gated_network_has_gates_of_its_own_that_are_tied():
    class Twins(Base):
        def __init__(self):
            super().__init__(
                12,
                a=nn.Sequential(conv(3, 12), nn.BatchNorm2d(12)),
                b=conv(12, 12),
                c=nn.Sequential(conv(12, 12)),
            )

        def forward(self, x):
            x = self.a(x)
            return self.head((x + torch.sigmoid(self.b(x)) * self.c(x)).mean((2, 3)))

    blueprint = read(Twins)
    network = blueprint.build(Twins(), [9], True).eval()
    other = copy.deepcopy(network)
    assert [len(gate.weight) for gate in gates_of(other)] == [9]
    assert not {id(gate) for gate in gates_of(network)} & {id(gate) for gate in gates_of(other)}
    before = network(pictures())
    gates_of(other)[0].weight.data.zero_()
    assert torch.equal(network(pictures()), before) and not torch.equal(other(pictures()), before)
    # closed wherever it is
    torch.testing.assert_close(other(pictures()), network.head.bias.expand(4, 10))


# --- what has its own numbers ---------------------------------------------------------------------


class Edges(Base):
    """A frozen filter for each channel, a table in a buffer, a buffer that is the same for all, and
    one that isn't stored."""

    def __init__(self, table: torch.Tensor):
        super().__init__(
            14,
            a=conv(3, 12),
            edges=nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False),
            b=conv(12, 14),
        )
        self.edges.weight = nn.Parameter(
            torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).expand(12, 1, 3, 3).clone(), False
        )
        self.register_buffer("table", table)
        self.register_buffer(
            "scale", torch.linspace(0.5, 1, PIXELS).expand(14, 1, PIXELS).clone(), persistent=False
        )
        self.trained = nn.Parameter(
            torch.linspace(0, 1, PIXELS).view(1, 1, PIXELS).repeat(12, 1, 1)
        )

    def forward(self, x):
        x = self.edges(torch.relu(self.a(x)) * self.trained)
        return self.head(torch.relu(self.b(x + self.table) * self.scale).mean((2, 3)))


def test_frozen_filters_and_buffers_that_are_the_same_everywhere_are_repeated():
    blueprint = read(lambda: Edges(torch.ones(1, 1, PIXELS, 1)))
    assert blueprint.template == [12, 14] and not blueprint.why_graph_with_gates
    made = Edges(torch.ones(1, 1, PIXELS, 1))
    for widths in ([5, 20], [30, 3], [12, 14]):
        built = blueprint.build(copy.deepcopy(made), widths, False)
        assert (
            not built.edges.weight.requires_grad
            and built.trained.requires_grad
            and built.edges.groups == widths[0]
        )
        for name, width in (
            ("edges.weight", widths[0]),
            ("trained", widths[0]),
            ("scale", widths[1]),
        ):
            given, old = (
                dict([*n.named_parameters(), *n.named_buffers()])[name] for n in (built, made)
            )
            assert torch.equal(given, old[:1].expand(width, *old.shape[1:])), name
        assert "scale" not in built.state_dict() and "table" in built.state_dict()


@pytest.mark.parametrize(
    "table",
    [torch.arange(12.0).sin().view(12, 1, 1), torch.tensor([1.0] * 11 + [2.0]).view(1, 12, 1, 1)],
)
def test_a_buffer_whose_channels_differ_fixes_their_width(table):
    blueprint = read(lambda: Edges(table))
    assert blueprint.template == [14] and "table is a buffer, and its channels differ" in reasons(
        blueprint
    )
    assert torch.equal(blueprint.build(Edges(table), [5], False).table, table)


class Frozen(Base):
    """A stem that is ``how``: frozen, computed without gradients, or cut off by detach; norms are
    frozen in the usual way."""

    def __init__(self, how: str):
        super().__init__(10, stem=conv(3, 12), norm=nn.BatchNorm2d(12), b=conv(12, 10))
        self.how = how
        if how == "frozen":
            self.stem.requires_grad_(False)
        if how == "norm":
            self.norm.requires_grad_(False)

    def forward(self, x):
        if self.how == "without gradients":
            with torch.no_grad():
                x = self.stem(x)
        else:
            x = self.stem(x)
        x = torch.relu(self.norm(x.detach() if self.how == "detached" else x))
        return self.head(torch.relu(self.b(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "template", "said"),
    [
        ("frozen", [10], "stem.weight is frozen, and its channels differ"),
        ("without gradients", [10], "stem.weight gets no gradient"),
        ("detached", [10], "stem.weight gets no gradient"),
        ("norm", [12, 10], ""),
        ("", [12, 10], ""),
    ],
)
def test_filters_that_are_never_trained_keep_their_width_and_their_numbers(how, template, said):
    torch.manual_seed(0)
    made, blueprint = Frozen(how), read(lambda: Frozen(how))
    assert blueprint.template == template and said in reasons(blueprint)
    small = blueprint.build(copy.deepcopy(made), halves(blueprint), False)
    assert [name for name, p in small.named_parameters() if not p.requires_grad] == [
        name for name, p in made.named_parameters() if not p.requires_grad
    ]
    if said:
        assert torch.equal(small.stem.weight, made.stem.weight)
        small(pictures()).sum().backward()
        assert small.stem.weight.grad is None and small.b.weight.grad is not None
    if how == "norm":
        assert torch.equal(small.norm.weight, torch.ones(6)) and not small.norm.weight.requires_grad


# --- training -------------------------------------------------------------------------------------


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.clamp(-1e-3, 1e-3) * 2


class Particular(Base):
    """A custom backward pass, noise by ``self.training``, a norm that train() keeps in evaluation,
    and a norm that it doesn't."""

    def __init__(self):
        super().__init__(
            10, a=conv(3, 12), kept=nn.BatchNorm2d(12), b=conv(12, 10), moved=nn.BatchNorm2d(10)
        )

    def train(self, mode=True):
        super().train(mode)
        self.kept.eval()
        return self

    def forward(self, x):
        x = Clipped.apply(torch.relu(self.kept(self.a(x))))
        x = torch.relu(self.moved(self.b(x))).mean((2, 3))
        if self.training:
            x = x * (torch.rand_like(x) > 0.5)
        return self.head(x)


@pytest.mark.parametrize("gated", [False, True])
def test_what_its_own_code_does_in_training_is_done(gated):
    blueprint = read(Particular)
    torch.manual_seed(0)
    made = Particular()
    built = blueprint.build(copy.deepcopy(made), [12, 10], gated)
    small = blueprint.build(copy.deepcopy(made), [6, 5], gated)
    results = []
    for network in (made.train(), built.train(), small.train()):
        torch.manual_seed(1)
        outputs = network(pictures())
        outputs.square().sum().backward()
        assert (
            not network.kept.running_mean.any()
            and network.moved.running_mean.any()
            and network.moved.num_batches_tracked == 1
        )
        assert not torch.equal(network(pictures()), network(pictures()))
        results.append((outputs, network.a.weight.grad))
    for one, other in zip(results[0], results[1]):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert isinstance(built.kept, GatedBatchNorm2d) == gated and isinstance(
        built.kept, nn.BatchNorm2d
    )
    assert results[2][1].shape == (6, 3, 3, 3) and results[2][1].abs().max() < 1.0


class Heads(Base):
    """A second head that is always computed, and given in training alone, as ``kind``."""

    def __init__(self, kind: str):
        super().__init__(
            12,
            a=conv(3, 12),
            b=conv(12, 12),
            side=nn.Sequential(conv(12, 9), nn.BatchNorm2d(9), nn.AdaptiveAvgPool2d(1)),
        )
        self.second, self.kind = nn.Linear(9, 10), kind

    def forward(self, x):
        x = torch.relu(self.a(x))
        other, main = (
            self.second(self.side(x).flatten(1)),
            self.head(torch.relu(self.b(x)).mean((2, 3))),
        )
        if not self.training or self.kind == "none":
            return main
        return {"tuple": (other, main), "dict": {"side": other, "out": main}}[self.kind]


@pytest.mark.parametrize("kind", ["tuple", "dict", "none"])
def test_a_head_from_which_no_logits_follow_has_no_width_and_no_gate(kind):
    blueprint = read(lambda: Heads(kind))
    assert blueprint.layers() == [
        ["a"],
        ["b"],
    ] and "side.0, second: no logits follow from them" in reasons(blueprint)
    assert (blueprint.why_graph == "") == (kind == "none")
    network = blueprint.build(Heads(kind), [6, 5], True)
    assert (type(network) is Heads) == (kind == "none")
    F.cross_entropy(network.train()(pictures()), torch.arange(4)).backward()
    assert all(gate.weight.grad.any() for gate in gates_of(network))
    cost, built = Cost(), blueprint.build(Heads(kind), [6, 5], False)
    blueprint.count(cost, [6, 5])
    assert cost.params == sum(p.numel() for p in built.parameters())
    assert any("second" in name for name, _ in built.named_parameters()) == (kind == "none")
    cutter = blueprint.cutter(network.eval(), multiple=1)
    alive = [torch.arange(len(gate.weight)) > 1 for gate in gates_of(network)]
    for gate, living in zip(gates_of(network), alive):
        gate.weight.data.copy_(living)
    expected = network(pictures())
    cutter.compact(alive, worthwhile=0)
    torch.testing.assert_close(cutter.finished()(pictures()), expected)


# --- held against the owner's code ----------------------------------------------------------------


def compared(make, monkeypatch, gated: bool = True) -> list[str]:
    """What comparing a network says; it leaves what is drawn afterwards as it was."""

    class Made:
        def __init__(self):
            self.found = read(make)

        def blueprint(self, **shape):
            return self.found

        def make(self, num_classes):
            return make()

    made = Made()
    monkeypatch.setattr(compare, "imported", lambda name: made)
    state = random.getstate(), torch.get_rng_state()
    lines = compare.compare_training(
        "net.py:Net", {"num_classes": 10, "image_size": PIXELS}, gated=gated
    )
    assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])
    return lines


@pytest.mark.parametrize(
    "make",
    [
        Labelled,
        Particular,
        lambda: Heads("tuple"),
        lambda: Heads("dict"),
        lambda: Frozen("norm"),
        lambda: Frozen("without gradients"),
        lambda: Edges(torch.ones(1)),
    ],
)
@pytest.mark.parametrize("gated", [False, True])
def test_what_is_trained_as_its_owner_would_passes(make, gated, monkeypatch):
    lines = compared(make, monkeypatch, gated)
    assert len(lines) == 2 + gated and float(lines[1].split(" by ")[1].split()[0]) < 1e-10


class Numbered(Base):
    """A number of channels in its code, so that its graph is run; and ``also``, which that does not
    know of."""

    def __init__(self, also: str):
        super().__init__(12, a=conv(3, 12), b=conv(12, 12), norm=nn.BatchNorm2d(12))
        self.also = also

    def train(self, mode=True):
        super().train(mode)
        if self.also == "train":
            self.norm.eval()
        return self

    def forward(self, x):
        x = torch.relu(self.a(x)).view(-1, 12, PIXELS, PIXELS)
        if self.also == "double" and self.training:
            x = 2 * x
        if self.also == "noise" and self.training:
            x = x + torch.rand_like(x)
        if self.also == "backward":
            x = Clipped.apply(x)
        if self.also == "draw" and self.training and random.random() < 0.5:
            x = x.flip(2)
        x = torch.relu(self.norm(self.b(x)))
        if self.also == "detach":
            x = x + self.a(x[:, :3]).detach()
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("also", "said"),
    [
        ("train", "loss"),
        ("double", "loss"),
        ("noise", "its own code is random"),
        ("backward", "the gradient of a.weight"),
    ],
)
def test_a_graph_that_would_be_trained_otherwise_is_refused_in_a_line(also, said, monkeypatch):
    assert read(lambda: Numbered(also)).why_graph
    with pytest.raises(UserError) as refusal:
        compared(lambda: Numbered(also), monkeypatch)
    line = str(refusal.value)
    assert (
        "what would be trained is not what its owner's code trains" in line
        and said in line
        and "\n" not in line
    ), line


def test_a_graph_that_is_trained_as_its_owners_code_passes_and_the_place_is_told(monkeypatch):
    lines = compared(lambda: Numbered(""), monkeypatch)
    assert (
        "its graph is run, not its own code" in lines[0]
        and "test_owner.py:" in lines[0]
        and "expected input[1, 12, 8, 8]" in lines[0]
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda n: n.a.weight.requires_grad_(False),
            "a.weight is trained in its own code and frozen here",
        ),
        (lambda n: n.a.weight.data.mul_(1.001), "loss"),
        (lambda n: setattr(n.moved, "momentum", 0.2), "moved.running_mean"),
        (
            lambda n: setattr(
                n,
                "forward",
                lambda x: F.linear(
                    x.mean((2, 3)) @ n.a.weight.mean((2, 3)).t(),
                    n.head.weight[:, :1].expand(-1, 12),
                ),
            ),
            "",
        ),
    ],
)
def test_whatever_differs_is_named(spoil, said, monkeypatch):
    rebuilt = Blueprint.rebuilt

    def spoilt(self, network, gated):
        found = rebuilt(self, network, gated)
        spoil(found)
        return found

    monkeypatch.setattr(Blueprint, "rebuilt", spoilt)
    with pytest.raises(UserError) as refusal:
        compared(Particular, monkeypatch)
    assert said in str(refusal.value)


def test_a_cut_that_loses_something_is_refused(monkeypatch):
    monkeypatch.setattr("model.graph.cut.held_widths", lambda blueprint: set())

    class Normed(Base):
        def __init__(self):
            super().__init__(12, a=conv(3, 12), norm=nn.GroupNorm(1, 12), b=conv(12, 12))

        def forward(self, x):
            return self.head(torch.relu(self.b(self.norm(self.a(x)))).mean((2, 3)))

    with pytest.raises(UserError, match="after closed filters were removed"):
        compared(Normed, monkeypatch)


def test_code_that_takes_no_numbers_of_64_bits_is_compared_in_32(monkeypatch):
    class Single(Base):
        def __init__(self):
            super().__init__(12, a=conv(3, 12), b=conv(12, 12))

        def forward(self, x):
            return self.head(torch.relu(self.b(torch.relu(self.a(x)).float())).mean((2, 3)))

    assert "float32, allowed 1e-03" in compared(Single, monkeypatch)[1]


# --- gates in hooks -------------------------------------------------------------------------------


class Functions(Base):
    """No norms; channels are read behind functions that make something of a zero."""

    def __init__(self):
        super().__init__(
            12, a=conv(3, 12), b=conv(12, 12), c=conv(12, 8), d=conv(8, 12), norm=LayerNorm2d(12)
        )

    def forward(self, x):
        x = torch.sigmoid(self.a(x) + 1)
        x = torch.exp(-self.norm(torch.sigmoid(self.b(x))))
        return self.head((self.d(torch.sigmoid(self.c(x))) * 0.1 + x).mean((2, 3)))


def test_gates_are_before_what_reads_where_there_is_no_module_to_put_them_behind():
    blueprint = read(Functions)
    assert not blueprint.why_graph_with_gates and {"b", "d", "norm"} <= set(blueprint.hooks.before)
    network = blueprint.build(Functions(), blueprint.template, True).double().eval()
    assert len(list(network.parameters())) == len(list(Functions().parameters())) + len(
        blueprint.template
    )
    readers = {("a",): ["b"], ("c",): ["d"], ("b", "d"): ["c", "head"]}
    for number, layers in enumerate(blueprint.layers()):
        gate = gates_of(network)[number]
        closed, other = copy.deepcopy(network), copy.deepcopy(network)
        gates_of(closed)[number].weight.data[0] = 0
        for reader in readers[tuple(layers)]:
            other.get_submodule(reader).weight.data[:, 0] = 0
        if "b" in layers:  # the norm takes its mean over it, too
            other.norm.register_forward_pre_hook(
                lambda module, args: (args[0] * (torch.arange(12) > 0).view(12, 1, 1),)
            )
        torch.testing.assert_close(
            closed(pictures().double()), other(pictures().double()), rtol=0, atol=1e-12
        )
        assert (gate.weight == 1).all()


def test_where_no_gate_can_be_put_the_graph_is_searched_and_it_is_told_where():
    class Inside(Base):
        """A norm as a function, behind a function: there is no module between what a filter becomes
        and what reads it."""

        def __init__(self):
            super().__init__(12, a=conv(3, 12), norm=nn.LayerNorm(12), b=conv(12, 12))

        def forward(self, x):
            x = torch.sigmoid(self.a(x)).permute(0, 2, 3, 1)
            x = F.layer_norm(x, self.norm.normalized_shape, self.norm.weight, self.norm.bias)
            return self.head(torch.relu(self.b(x.permute(0, 3, 1, 2))).mean((2, 3)))

    blueprint = read(Inside)
    assert (
        not blueprint.why_graph
        and "no gate can be put before layer_norm" in blueprint.why_graph_with_gates
    )
    assert (
        type(blueprint.build(Inside(), [5, 5], False)) is Inside
        and type(blueprint.build(Inside(), [5, 5], True)) is not Inside
    )
    assert (
        "in searches its graph is run" in blueprint.whose_code()
        and "layer_norm" in blueprint.whose_code()
    )


def test_a_module_whose_children_are_run_one_after_the_other_is_gated_and_ungated():
    make = lambda: nn.Sequential(  # noqa: E731
        conv(3, 12),
        nn.Sigmoid(),
        conv(12, 8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    blueprint = read(make)
    network = blueprint.build(make(), [12, 8], True).eval()
    assert type(network) is nn.Sequential and len(network) == 8
    cutter = blueprint.cutter(network, multiple=1)
    alive = [torch.arange(12) < 5, torch.arange(8) % 2 == 0]
    for gate, living in zip(gates_of(network), alive):
        gate.weight.data.copy_(living)
    expected = network(pictures())
    cutter.compact(alive, sgd(network, 0.1, 0.5, 0), worthwhile=0)
    plain = cutter.finished()
    torch.testing.assert_close(plain(pictures()), expected)
    assert plain is network and not any(
        isinstance(module, (GateLayer, GatedBatchNorm2d)) for module in plain.modules()
    )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in plain.modules())
    assert (
        list(plain.state_dict()) == list(make().state_dict())
        and plain[0].out_channels == 5
        and type(plain[3]) is nn.BatchNorm2d
    )


def test_a_gate_that_is_not_open_is_not_taken_out():
    blueprint = read(Labelled)
    network = blueprint.build(Labelled(), [5, 7], True)
    gates_of(network)[0].weight.data[0] = 0
    with pytest.raises(ValueError, match="closed"):
        blueprint.cutter(network).finished()


def test_a_checkpoint_of_channels_of_each_result_is_refused():
    blueprint = read(Labelled)
    cutter = blueprint.cutter(blueprint.build(Labelled(), [5, 7], True))
    with pytest.raises(UnreadableNetwork, match="begun by a version"):
        cutter.restore({"stem_0": torch.ones(5, dtype=torch.bool)})
