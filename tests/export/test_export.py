"""Networks to take away: equal outputs in every format, nothing of the project in them, whole
folders or none."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from built_in import BUILT_IN
from exports import said, tune
from results import write_result
from running import (
    ONCE,
    REPOSITORY,
    Outcome,
    assert_refused,
    call,
    fork,
    run,
    snapshot,
    succeed,
    wait_for,
)
from torch import nn

from model import MODELS, build_model, count_params, uniform_filters
from model.gate import GateLayer, gates_of
from model.graph import flatten
from model.graph.compaction import Compactor
from model.graph.selection import Selection
from utils.errors import UserError
from utils.export import export, formats
from utils.export import folder as folders
from utils.export import write as writing
from utils.records.locks import exclusive
from utils.records.networks import graph_of, load_network
from utils.settings import Folders, Networks, Task
from utils.training.magnitude import compactor_of, largest_filters, prune, pruned_widths

FILES = {
    "README.md",
    "architecture.json",
    "example.py",
    "network.onnx",
    "network.pt2",
    "network.py",
    "weights.pt",
}
BASE, TUNED = 0.125, 0.09
QUICK = ["export.py", "--dataset", "digits", "--uniform", "--ratio", 0.0625]
OWN = "net.py:Small"  # where it doesn't matter which network: the fewest operations to export
SMALL = ["export.py", "--model", OWN, *QUICK[1:]]
NETWORK = """
from torch import nn

class Small(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(
            nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(64, num_classes),
        )
"""


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """Of each model a base network and a fine-tuned one, the latter exported; a trained vgg; of the
    small network a trained one, a base network, and an untrained one exported."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model in MODELS:
            tune(model, TUNED)
            exported("--model", model, "--save", "tuned_0", "--ratio", TUNED, out=f"taken/{model}")
        Path("net.py").write_text(NETWORK)
        own = ["--model", OWN]
        for model in ([], own):
            sweep = ["--save", "done_0", "--uniform", "--ratios", 0.0625]
            succeed("ratio_swipe.py", *model, *sweep, *ONCE)
        succeed("train_norm.py", *own, "--save", "base", "--ratio", BASE, *ONCE)
        exported(*own, "--uniform", "--ratio", 0.0625, out="taken/untrained")
    return folder


def exported(*options, out="out") -> Path:
    succeed("export.py", "--dataset", "digits", *options, "--out", out)
    assert {path.name for path in Path(out).iterdir()} == FILES
    return Path(out)


def assert_equal_outputs(network: nn.Module, folder: Path, size: int = 32) -> None:
    """In every format, at other batch sizes than the program itself looked at, too."""
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    program = torch.export.load(folder / "network.pt2").module()
    batches = [
        torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(batch + 99)) * 4
        - 2
        for batch in (1, 7, 100)
    ]
    with torch.no_grad():
        expected = [network(images) for images in batches]
        found = [
            [
                torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
                for images in batches
            ],
            [program(images) for images in batches],
        ]
        for tensor in program.state_dict().values():
            tensor.zero_()
        program.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        found.append([program(images) for images in batches])
    for outputs, exact in (pair for each in found for pair in zip(each, expected)):
        assert (
            outputs.shape == exact.shape
            and (outputs - exact).abs().max() <= 1e-5 * exact.abs().max()
        )


# --- the same outputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*MODELS, OWN])
def test_base_networks_and_fine_tuned_ones_give_the_same_outputs_wherever_they_are_loaded(
    model, folder
):
    """Of the small network it is the base network."""
    slug = model.replace("net.py:", "net.")
    name, ratio, file = (
        ("base", BASE, "base.pt") if model == OWN else ("tuned_0", TUNED, "tuned_0@9.pt")
    )
    out = (
        exported("--model", model, "--save", name, "--ratio", ratio)
        if model == OWN
        else Path("taken", model)
    )
    network = load_network(f"saved_models/{slug}/{file}", model)
    assert not network.training and next(network.parameters()).device.type == "cpu"
    assert_equal_outputs(network, out)
    told, result = (
        said(out),
        json.loads(Path(f"saved_plots/{slug}/{name}_{int(100 * ratio)}.json").read_text()),
    )
    for key in (
        "filters",
        "params",
        "macs",
        "best",
        "last",
        "budget",
        "round_to",
        "origin",
        "versions",
        "method",
        "image_size",
    ):
        assert told[key] == result[key]
    tensors = torch.load(out / "weights.pt", weights_only=True)
    buffers = ("running_mean", "running_var", "_tracked", "_factors", "_index", "_mask")
    held = sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(buffers))
    assert told["stored_params"] == held >= told["params"] and (
        held == told["params"] or name == "tuned_0"
    )
    assert max(told["differences"].values()) <= 1e-5 and {
        "onnx",
        "onnxruntime",
        "torch",
    } <= set(told["exported_with"])
    assert told["training_differs"] == "" and told["not_written"] == {}
    assert len((out / "README.md").read_text().splitlines()) == 10


@pytest.mark.parametrize(
    "model, options",
    [
        ("vgg", ["--prune-fname", "published", "--dataset", "CIFAR10", "--ratio", 0.1]),
        ("resnet18", ["--uniform", "--convcut", "--ratio", 0.0625]),
    ],
)
def test_untrained_networks_are_those_that_a_training_begins_with(model, options, folder):
    out = exported("--model", model, *options)
    told = said(out)
    torch.manual_seed(export.seed_from(0))
    network = build_model(model, told["filters"], convcut="--convcut" in options).eval()
    assert_equal_outputs(network, out)
    assert told["trained"] is False and told["params"] == count_params(
        model, told["filters"], convcut="--convcut" in options
    )
    assert "best" not in told


def test_a_trained_network_is_exported_by_name_and_ratio_and_at_its_default_place(folder):
    out = succeed(*SAVED_OWN)
    place = Path("exported/net.Small/done_0_6")
    assert f"exported to {place}" in out and {path.name for path in place.iterdir()} == FILES
    assert_equal_outputs(load_network(OWN_WEIGHTS, OWN), place)
    # no lock, nothing temporary
    assert not [path for path in place.parent.iterdir() if path.name != "done_0_6"]


RESERVED = """
from torch import nn

class Named(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.code, self.graph = nn.Conv2d(3, 64, 3), nn.Linear(64, num_classes)
        self.block = nn.ModuleDict({"class": nn.BatchNorm2d(64)})

    def forward(self, x):
        return self.graph(self.block["class"](self.code(x)).relu().mean((2, 3)))
"""


def test_a_network_whose_parts_have_reserved_names_is_exported_whole(folder):
    """torch.fx can't run a program with parts called code or graph, nor write one called class."""
    Path("names.py").write_text(RESERVED)
    named = ["export.py", "--model", "names.py:Named", *QUICK[1:], "--out", "out"]
    assert "exported to out" in succeed(*named)
    weights = torch.load("out/weights.pt", weights_only=True)
    program = torch.export.load("out/network.pt2").module()
    assert {name.replace("_.", ".") for name in program.state_dict()} == set(weights)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession("out/network.onnx")
    [onnx] = session.run(None, {"images": images.numpy()})
    assert torch.allclose(program(images), torch.from_numpy(onnx), atol=1e-5)


ALONE = """
import sys, numpy
import onnxruntime
images = numpy.random.default_rng(0).normal(size=(5, 3, 32, 32)).astype("float32")
first = onnxruntime.InferenceSession("network.onnx").run(None, {"images": images})[0]
import torch
module = torch.export.load("network.pt2").module()
module.load_state_dict(torch.load("weights.pt", weights_only=True))
second = module(torch.from_numpy(images)).detach().numpy()
assert abs(first - second).max() <= 1e-5 * abs(first).max() and first.shape == (5, 10)
assert not [name for name in sys.modules if name.split(".")[0] in ("model", "utils")]
"""


def test_an_export_is_loaded_where_there_is_no_project_and_says_nothing_of_where_it_was_made(
    folder, tmp_path_factory
):
    elsewhere = shutil.copytree("taken/resnet18", tmp_path_factory.mktemp("elsewhere") / "taken")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=elsewhere, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name, content in snapshot(elsewhere).items():
        assert not any(
            word in content
            for word in (str(REPOSITORY).encode(), b"preact_resnet", b"Selection", b"GateLayer")
        ), name
    graph = onnx.load(elsewhere / "network.onnx").graph
    kinds = {node.op_type for node in graph.node}
    # no selections, no gates
    assert {"Conv", "Relu", "Add"} <= kinds and not kinds & {
        "Gather",
        "GatherElements",
        "Mul",
        "Where",
    }
    assert [graph.input[0].type.tensor_type.shape.dim[0].dim_param, graph.output[0].name] == [
        "batch",
        "logits",
    ]


# --- without gates and selections -----------------------------------------------------------------


def cut_down(model: str, base: float, ratio: float) -> nn.Module:
    """A network of random weights, norms included, without its small filters."""
    torch.manual_seed(1)
    filters = uniform_filters(model, base)
    network = build_model(model, filters, gated=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.normal_()
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    compactor = compactor_of(model, network)
    kept = largest_filters(
        compactor, pruned_widths(model, ratio, filters, num_classes=10, image_size=32)
    )
    return prune(compactor, kept)[0].eval()


# a channel that a shortcut joins to others may stay where its filter goes
SELECTING = [model for model in MODELS if BUILT_IN[model].residual]


@pytest.mark.parametrize(
    "how, model, base, ratio",
    [
        *(("widened", model, 0.25, 0.18) for model in MODELS),
        *(("selected", model, 0.25, 0.18) for model in SELECTING),
        ("widened", "mobilenetv2", 0.5, 0.12),
        ("selected", "mobilenetv2", 0.5, 0.12),
    ],
)
def test_gates_and_selections_go_and_the_outputs_stay(how, model, base, ratio, monkeypatch):
    """mobilenetv2 at 0.12 keeps closed gates of layers that nothing is left of."""
    network = cut_down(model, base, ratio)
    assert any(isinstance(module, Selection) for module in network.modules()) == (
        model in SELECTING
    )
    assert any((gate.multipliers() != 1).any() for gate in gates_of(network)) == (ratio == 0.12)
    if how == "selected":

        def unknown(*_):
            raise NotImplementedError

        monkeypatch.setattr(flatten, "_widened", unknown)
    images = torch.randn(4, 3, 32, 32)
    found = flatten.plain(network, images)
    with torch.no_grad():
        before = network(images)
        assert (found(images) - before).abs().max() <= 1e-5 * before.abs().max()
    # of torch alone
    assert {type(module).__module__.split(".")[0] for module in found.modules()} == {"torch"}
    selects = [node for node in found.graph.nodes if node.target == torch.index_select]
    assert bool(selects) == (how == "selected" and model != "vgg")


class Odd(nn.Module):
    """Multiplies two selections: a product is not known to work channel by channel."""

    def __init__(self):
        super().__init__()
        every, some = torch.ones(6, dtype=torch.bool), torch.tensor([1, 0, 1, 1, 0, 1]).bool()
        self.conv, self.select, self.back = (
            nn.Conv2d(3, 6, 3),
            Selection(every, some),
            Selection(some, every),
        )
        self.gate, self.out = GateLayer(6), nn.Linear(6, 4)

    def forward(self, x):
        return self.out(self.gate((self.back(self.select(self.conv(x)) * 2.0)).mean((2, 3))))


def test_what_is_not_known_is_left_to_plain_index_selects():
    network, images = Odd().eval(), torch.randn(2, 3, 8, 8)
    network.gate.weight.data = torch.tensor([1.0, 0, 2, 1, 1, 1])
    found = flatten.plain(network, images)
    assert [node.target for node in found.graph.nodes].count(torch.index_select) == 2
    assert torch.allclose(found(images), network(images), atol=1e-6)
    assert not any(isinstance(module, (Selection, GateLayer)) for module in found.modules())


def test_selections_along_another_dimension_go_too():
    """ConvNeXt has its channels last inside of its blocks."""
    torch.manual_seed(0)
    name, images = "torchvision.models:convnext_tiny", torch.randn(2, 3, 64, 64)
    network = graph_of(
        name, uniform_filters(name, 0.125), {"num_classes": 10, "image_size": 64}, gated=True
    ).eval()
    compactor = Compactor(network, 64, multiple=1)
    compactor.compact(
        [torch.arange(len(gate.weight)) % 3 != 1 for gate in gates_of(network)], worthwhile=0
    )
    network = compactor.network.eval()
    assert {module.axis for module in network.modules() if isinstance(module, Selection)} == {3}
    found = flatten.plain(network, images)
    with torch.no_grad():
        before = network(images)
        assert (found(images) - before).abs().max() <= 1e-5 * before.abs().max()
    assert not any(isinstance(module, (Selection, GateLayer)) for module in found.modules())


class Overwriting(nn.Module):
    """Writes over what nothing else reads, over what is read again, and over a view."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        alone = nn.functional.hardtanh(self.conv(x), inplace=True)
        again = self.conv(x)
        activated = nn.functional.leaky_relu(again, 0.2, inplace=True)
        seen = self.conv(x)
        nn.functional.hardtanh(seen.view(-1), inplace=True)
        return (alone + again + activated + seen).mean((2, 3))


def test_activations_that_write_over_their_input_are_computed_anew_but_on_views():
    torch.manual_seed(0)
    network, images = Overwriting().eval(), 5 * torch.randn(2, 3, 8, 8)
    program = formats.without_overwriting(formats.exported(network, images))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert [name.count("tanh_") for name in names if "hardtanh" in name] == [0, 1]
    assert "aten.leaky_relu.default" in names
    assert torch.equal(program.module()(images), network(images))


def test_a_network_that_cannot_be_looked_into_is_one_line(tmp_path):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = GateLayer(3)

        def forward(self, x):
            return self.gate(x) if x.sum() > 0 else x

    with pytest.raises(UserError, match=r"can't be exported: torch\.fx can't trace"):
        export.write(
            Branching(),
            [3],
            False,
            "vgg",
            "digits",
            {"num_classes": 3, "image_size": 8},
            {},
            tmp_path / "out",
        )
    assert not any(tmp_path.iterdir())


# --- loading --------------------------------------------------------------------------------------


def test_fine_tuned_weights_of_an_earlier_version_are_loaded_with_those_of_their_base(folder):
    path = Path("saved_models/resnet18/tuned_0@9.pt")
    images, content = torch.randn(2, 3, 32, 32), torch.load(path, weights_only=True)
    before = load_network(path)(images)
    assert content.pop("base_filters") == uniform_filters("resnet18", BASE)
    torch.save(content, path)
    assert torch.equal(load_network(path)(images), before)
    path.with_name("base.pt").unlink()
    with pytest.raises(UserError, match=r"put .*base\.pt back"):
        load_network(path)


def test_what_a_network_computes_when_loaded_is_what_was_tested(folder):
    """The accuracy that the result says, on the same images."""
    from utils.data import evaluation_batches, load_data
    from utils.training.device import Runner
    from utils.training.loop import evaluate

    data = load_data("digits", limit_train=100, limit_test=50)
    for model in MODELS:
        for file, result in (("base.pt", "base_12.json"), ("tuned_0@9.pt", "tuned_0_9.json")):
            loss, accuracy = evaluate(
                load_network(f"saved_models/{model}/{file}"), evaluation_batches(data), Runner()
            )
            told = json.loads(Path(f"saved_plots/{model}/{result}").read_text())
            assert (accuracy, loss) == (
                told["last"],
                pytest.approx(told["test_loss"][-1], rel=1e-4),
            )


STRANGE = [
    None,
    True,
    -1,
    0,
    0.5,
    10**12,
    "x",
    [],
    {},
    [None],
    [[1]],
    [[10**9]],
    {"kept": None},
    float("nan"),
    torch.zeros(2),
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: ascii(value)[:20])
def test_weights_that_say_strange_things_are_one_line_or_what_they_were(strange, folder):
    path, images = Path("saved_models/resnet18/tuned_0@9.pt"), torch.randn(1, 3, 32, 32)
    whole, before = torch.load(path, weights_only=True), load_network(path)(images)
    kept = whole["begun_with"]["kept"]
    altered = [{**whole, key: strange} for key in whole] + [
        {**whole, "network": {**whole["network"], "stem.weight": strange}}
    ]
    altered += [
        {**whole, "begun_with": {**whole["begun_with"], "kept": value}}
        for value in (strange, [strange, *kept[1:]])
    ]
    altered += [{**whole, "base_filters": [strange, *whole["base_filters"][1:]]}]
    for content in altered:
        torch.save(content, path)
        try:
            assert torch.equal(load_network(path)(images), before)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


# --- hostile cases --------------------------------------------------------------------------------

WEIGHTS = Path("saved_models/vgg/done_0@6.pt")
SAVED = ["export.py", "--dataset", "digits", "--save", "done_0", "--ratio", 0.0625, "--out", "out"]
OWN_WEIGHTS = Path("saved_models/net.Small/done_0@6.pt")
SAVED_OWN = ["export.py", "--model", OWN, *SAVED[1:-2]]  # to its default place


def altered(**values):
    content = torch.load(WEIGHTS, weights_only=True)
    torch.save({**content, **values}, WEIGHTS)


def torn():
    WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:-100])


def flipped():
    content = bytearray(WEIGHTS.read_bytes())
    tensor = torch.load(WEIGHTS, weights_only=True)["network"]["classifier.weight"]
    content[content.index(tensor.numpy().tobytes())] ^= 1
    WEIGHTS.write_bytes(content)


def unfinished():
    altered(optimizer={})


def not_finite():
    content = torch.load(OWN_WEIGHTS, weights_only=True)
    content["network"]["5.weight"][0, 0] = float("nan")
    torch.save(content, OWN_WEIGHTS)


def occupied():
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")


def in_the_way():
    Path("out").write_text("a file")


def below_a_file():
    Path("file").write_text("a file")


def result_of_another_seed():
    path = Path("saved_plots/vgg/done_0_6.json")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


HOSTILE = {  # what is done before, the command, what the line names
    "no such run": (None, [*SAVED, "--save", "other"], "other@6.pt"),
    "no such ratio": (None, [*SAVED, "--ratio", 0.5], "done_0@50.pt"),
    "torn weights": (torn, SAVED, "done_0@6.pt: damaged"),
    "a flipped bit": (flipped, SAVED, "done_0@6.pt: damaged"),
    "weights of another model": (
        lambda: shutil.copy("saved_models/resnet18/tuned_0@9.pt", WEIGHTS),
        SAVED,
        "a resnet18 of digits",
    ),
    "weights of another run": (
        lambda: shutil.copy("saved_models/vgg/tuned_0@9.pt", WEIGHTS),
        SAVED,
        "begun with",
    ),
    "other widths": (lambda: altered(filters=[9] * 8), SAVED, "done_0@6.pt"),
    "widths without end": (lambda: altered(filters=[10**9] * 8), SAVED, "done_0@6.pt"),
    "no widths": (lambda: altered(filters="many"), SAVED, "done_0@6.pt: damaged"),
    "an unknown model": (lambda: altered(model="lenet"), SAVED, "done_0@6.pt: damaged"),
    "unfinished work": (unfinished, SAVED, "unfinished"),
    "weights that are not finite": (not_finite, [*SAVED_OWN, "--out", "out"], "finite"),
    "no result": (lambda: Path("saved_plots/vgg/done_0_6.json").unlink(), SAVED, "done_0_6.json"),
    "a result of another seed": (
        result_of_another_seed,
        SAVED,
        "done_0@6.pt: begun with seed = 0, not 1",
    ),
    "the folder is there": (occupied, SAVED, "thesis.tex"),
    "the folder is there and not an export": (
        occupied,
        [*SAVED, "--overwrite"],
        "thesis.tex, which no export wrote",
    ),
    "--out is a file": (in_the_way, SAVED, "out: is a file"),
    "--out is below a file": (below_a_file, [*SAVED, "--out", "file/out"], "file"),
    "another data set": (None, [*SAVED, "--dataset", "CIFAR10"], "a vgg of digits"),
    "nothing asked for": (None, ["export.py", "--dataset", "digits"], "give either --save NAME"),
    "both asked for": (None, [*SAVED, "--uniform"], "give either --save NAME"),
    "no such search": (
        None,
        ["export.py", "--dataset", "digits", "--prune-fname", "none"],
        "none.json",
    ),
    "nothing published": (
        None,
        ["export.py", "--dataset", "digits", "--prune-fname", "published"],
        "nothing was published",
    ),
    "a data set unheard of": (
        None,
        ["export.py", "--dataset", "birds", "--uniform"],
        "--dataset birds",
    ),
    "an empty layer": (
        None,
        ["export.py", "--dataset", "digits", "--uniform", "--ratio", 0.001],
        "ratio 0.001",
    ),
    "no multiples": (None, [*QUICK, "--round-to", 512], "--round-to 512"),
    "a name with a slash": (None, [*SAVED, "--save", "a/b"], "a/b"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_cases_are_one_line_and_leave_everything_as_it_was(case, folder):
    prepare, command, naming = HOSTILE[case]
    if prepare:
        prepare()
    before = snapshot(folder)
    assert_refused(call(*command), naming)
    assert snapshot(folder) == before and not [path for path in folder.rglob(".*") if path.is_dir()]


@pytest.mark.parametrize("missing", [{"onnx"}, {"onnxruntime"}, {"onnxscript", "onnx"}])
def test_missing_packages_are_asked_for_before_anything_is_computed(missing, folder, monkeypatch):
    def find(name):
        return None if name in missing else True

    monkeypatch.setattr(formats, "find_spec", find)
    monkeypatch.setattr(export, "read_stored", None)
    for command in (SAVED, QUICK):
        assert_refused(call(*command), *missing, "pip install -r requirements-export.txt")


def test_a_full_disk_is_one_line_and_leaves_no_folder(folder):
    before = snapshot(folder)
    outcome = run(*QUICK, "--out", "out", cwd=folder, largest_file=20_000)
    assert_refused(Outcome(*outcome), "out: can't be written", "untouched")
    assert snapshot(folder) == before and not Path("out").exists()


@pytest.mark.parametrize("which", ["kill", "stop"])
def test_a_process_that_ends_in_the_middle_leaves_no_half_folder_and_the_next_one_cleans_up(
    which, folder, monkeypatch
):
    number = {"kill": signal.SIGKILL, "stop": signal.SIGTERM}[which]
    for stage in range(4):

        def die(at=stage):
            write, stages = Path.write_bytes, iter(range(4))

            def write_some(self, content, write=write, stages=stages, at=at):
                if next(stages) == at:
                    os.kill(os.getpid(), number)
                return write(self, content)

            def differ(*_):
                os.kill(os.getpid(), number)
                return {}

            monkeypatch.setattr(Path, "write_bytes", write_some)
            monkeypatch.setattr(writing, "differences", differ)
            monkeypatch.setattr(
                writing, "written", lambda *_: [(name, b"x") for name in ("a", "b", "c")]
            )

        status = wait_for(fork(*SMALL, "--out", "out", prepare=die))
        assert status == (-signal.SIGKILL if which == "kill" else 143) and not Path("out").exists()
        assert any(
            path.name.startswith(".out.") and path.is_dir() for path in folder.iterdir()
        ) == (which == "kill")
    exported(*SMALL[1:])
    assert not [path for path in folder.iterdir() if path.name.startswith(".out")]


def test_overwriting_replaces_an_export_whole_or_not_at_all(folder, monkeypatch):
    out = shutil.copytree("taken/untrained", "out")
    first = snapshot(out)
    assert_refused(call(*SMALL, "--out", "out"), "--overwrite")
    assert snapshot(out) == first

    def lose(*_):
        raise UserError("the network was lost")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "differences", lose)
        assert_refused(call(*SMALL, "--out", "out", "--overwrite"), "lost")
    assert snapshot(out) == first
    succeed(*SMALL[:-1], 0.125, "--out", "out", "--overwrite")
    assert (
        snapshot(out).keys() == first.keys() and snapshot(out)["weights.pt"] != first["weights.pt"]
    )


# earlier versions said which process it was
@pytest.mark.parametrize("which", [["0123456789abcdef"], [2**22 + 1], [os.getpid()]])
def test_what_killed_processes_left_is_put_back_or_removed_whatever_their_numbers_were(
    which, tmp_path
):
    """A process of this number may run again: in a container many have the same."""
    for what in ("old", "tmp"):
        (tmp_path / f".out.{which[0]}.{what}").mkdir()
        (tmp_path / f".out.{which[0]}.{what}" / "file").write_text(what)
    others = tmp_path / ".out.mine.tmp"
    others.mkdir()
    folders.mend(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out", others.name} and (
        tmp_path / "out" / "file"
    ).read_text() == "old"
    with folders.replacing_folder(tmp_path / "out", ["file"], True) as temporary:
        (temporary / "file").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"out", others.name} and (
        tmp_path / "out" / "file"
    ).read_text() == "new"


def test_an_export_that_was_killed_between_its_two_renames_is_there_again_and_not_replaced_without_overwrite(
    folder,
):
    out = shutil.copytree("taken/untrained", "out")
    first = snapshot(out)

    def die():
        Path.rename = lambda self, target, rename=Path.rename: (
            os.kill(os.getpid(), signal.SIGKILL) if ".tmp" in self.name else rename(self, target)
        )

    other = [*SMALL[:-1], 0.125, "--out", "out"]
    assert (
        wait_for(fork(*other, "--overwrite", prepare=die)) == -signal.SIGKILL
        and not Path("out").exists()
    )
    assert_refused(call(*other), "out", "--overwrite")
    assert snapshot(out) == first and not [
        path for path in folder.iterdir() if path.name.startswith(".out")
    ]


def test_a_folder_is_one_by_whichever_link(folder):
    Path("taken-away").mkdir()
    Path("link").symlink_to("taken-away")
    with exclusive(Path("taken-away")):
        assert_refused(call(*QUICK, "--out", "link"), "another process", "choose another --out")
    succeed(*SMALL, "--out", "link")
    assert {path.name for path in Path("taken-away").iterdir()} == FILES and Path(
        "link"
    ).is_symlink()


def test_a_ratio_that_shares_its_file_name_with_another_is_not_exported_as_that_one(folder):
    """Files have int(100 * ratio) in their names."""
    assert_refused(
        call("export.py", "--dataset", "digits", "--save", "done_0", "--ratio", 0.069),
        "done_0_6.json",
        "0.0625",
        "0.069",
    )
    assert not Path("exported").exists()


def test_an_error_between_the_two_renames_puts_the_old_folder_back(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with (
        pytest.raises(UserError, match="No space left"),
        folders.replacing_folder(tmp_path / "out", ["old"], True) as temporary,
    ):
        (temporary / "new").write_text("new")
    assert snapshot(tmp_path) == {"out/old": b"old"} and [
        path.name for path in tmp_path.iterdir()
    ] == ["out"]


def test_two_exports_to_one_folder_are_refused(folder):
    with exclusive(Path("out")):
        assert_refused(call(*QUICK, "--out", "out"), "another process", "choose another --out")
    assert not Path("out").exists()


def test_an_export_says_nothing_but_what_it_did(folder):
    outcome = run(*SMALL, "--out", "out", cwd=folder, fresh=True)
    assert (outcome.status, outcome.err) == (0, "") and len(outcome.out.splitlines()) == 6


def test_exporting_from_python(folder):
    out = export.export_untrained(
        Task(model=OWN, dataset="digits"),
        Networks(uniform=True, budget="macs", round_to=4),
        0.0625,
        None,
        Folders(),
    )
    assert (
        out == Path("exported/net.Small/digits_uniform_macs_by4_6_untrained")
        and said(out)["round_to"] == 4
    )
    write_result("alone_0", 50.0, ratio=0.0625)
    with pytest.raises(UserError, match=r"alone_0@6\.pt"):
        export.export_trained(
            Task(dataset="digits"), "alone_0", 0.0625, None, Folders(), "saved_models"
        )


def test_what_python_keeps_of_an_imported_file_is_no_file_of_somebody_elses(tmp_path):
    out, files = tmp_path / "out", ("network.py", "weights.pt")
    (out / "__pycache__").mkdir(parents=True)
    (out / "network.py").touch()
    (out / "__pycache__" / "network.cpython-311.pyc").touch()
    with folders.replacing_folder(out, files, overwrite=True) as new:
        (new / "weights.pt").touch()
    assert [path.name for path in out.iterdir()] == ["weights.pt"]

    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "thesis.cpython-311.pyc").touch()
    with (
        pytest.raises(UserError, match="__pycache__, which no export wrote"),
        folders.replacing_folder(out, files, overwrite=True),
    ):
        pass
