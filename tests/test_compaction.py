"""Removing what closed gates have made dead changes no other number: in float64 a compacted search and a masked one
record the same rows and end with the same weights, momentum and outputs."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model import MODELS, build_model
from model.gate import GateLayer, gates_of
from utils.compaction import MULTIPLE, Compactor
from utils.descent import Iteration
from utils.engine import sgd
from utils.pruning import TaylorPruner
from utils.records import read_tensors, write_tensors

FILTERS = {
    "vgg": [12, 17, 24, 24, 33, 30, 32, 27],
    "resnet18": [12, 9, 12, 12, 10, 18, 19, 24, 24, 21, 33, 24, 33, 32, 27, 40, 40],
    "mobilenetv2": [10, 9, 9, 10, 12, 12, 12, 16, 16, 17, 17, 24, 24, 19, 24, 24, 24, 30, 48],
}
EVERYWHERE_EQUAL = [18] * 17  # for resnet18: every shortcut of stride 1 is an identity
LR = {"vgg": 0.02, "resnet18": 0.02, "mobilenetv2": 2e-4}  # mobilenetv2 on noise is chaotic: rounding must not grow


def begin(name: str, filters: list[int], compact: bool, *, prune_fraction: float = 0.95, **options) -> Iteration:
    torch.manual_seed(0)
    network = build_model(name, filters, gated=True, **options).double().to(memory_format=torch.channels_last)
    compactor = Compactor(network) if compact else None
    return Iteration(compactor.network if compact else network, sgd(network, LR[name], 0.5, 5e-4),
                     TaylorPruner(gates_of(network), 1, 12, prune_fraction), compactor)


def batches(image_size: int, number: int = 100):
    draw, images = torch.Generator().manual_seed(1), 4 if image_size == 32 else 2
    for _ in range(number):
        yield (torch.randn(images, 3, image_size, image_size, generator=draw, dtype=torch.float64),
               torch.randint(0, 10, (images,), generator=draw))


def train(state: Iteration, source) -> Iteration:
    """Over all of ``source``, or until the iteration has ended."""
    for images, labels in source:
        state.network.zero_grad()
        F.cross_entropy(state.network(images), labels).backward()
        state.optimizer.step()
        if not state.after_step():
            break
    return state


def assert_same_but_for_the_dead(masked: Iteration, compacted: Iteration) -> None:
    """Every number the compacted network still has is the masked network's: weights, momentum, running statistics."""
    kept, graph = compacted.compactor.kept, compacted.compactor.graph
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        whole, cut = masked.network.get_submodule(node.target), compacted.network.get_submodule(node.target)
        rows, source = kept[node.name], node.all_input_nodes[0].name
        dense = isinstance(whole, nn.Linear) or (isinstance(whole, nn.Conv2d) and whole.groups == 1)

        def sliced(tensor, rows=rows, columns=kept.get(source) if dense else None):
            tensor = tensor[rows]
            return tensor[:, columns] if columns is not None and tensor.dim() > 1 else tensor

        for (key, old), (_, new) in zip(whole.named_parameters(), cut.named_parameters(), strict=True):
            torch.testing.assert_close(new, sliced(old), rtol=0, atol=1e-9, msg=lambda m, k=key, t=node.target: f"{t}.{k}: {m}")
            if not key.endswith("gate.weight") and not isinstance(whole, GateLayer):
                torch.testing.assert_close(compacted.optimizer.state[new]["momentum_buffer"],
                                           sliced(masked.optimizer.state[old]["momentum_buffer"]), rtol=0, atol=1e-9)
        if isinstance(whole, nn.BatchNorm2d):
            alive = cut.gate.weight == 1 if hasattr(cut, "gate") else slice(None)  # dead channels read what they like
            for key in ("running_mean", "running_var"):
                torch.testing.assert_close(getattr(cut, key)[alive], sliced(getattr(whole, key))[alive], rtol=0, atol=1e-9)


def size(state: Iteration) -> int:
    return sum(parameter.numel() for parameter in state.network.parameters())


@pytest.mark.parametrize(("name", "filters", "image_size", "convcut", "fraction"), [
    ("vgg", FILTERS["vgg"], 32, False, 0.95),
    ("vgg", FILTERS["vgg"], 64, False, 0.5),
    ("resnet18", FILTERS["resnet18"], 32, False, 0.95),
    ("resnet18", EVERYWHERE_EQUAL, 32, False, 0.95),
    ("resnet18", EVERYWHERE_EQUAL, 64, False, 0.5),
    ("resnet18", EVERYWHERE_EQUAL, 32, True, 0.95),
    ("mobilenetv2", FILTERS["mobilenetv2"], 32, False, 0.95),
    ("mobilenetv2", FILTERS["mobilenetv2"], 64, False, 0.5),
    ("mobilenetv2", FILTERS["mobilenetv2"], 32, True, 0.5),
], ids=lambda value: None if isinstance(value, list) else str(value))
def test_a_compacted_search_is_the_masked_search(name, filters, image_size, convcut, fraction):
    masked, compacted = (
        train(begin(name, filters, compact, prune_fraction=fraction, image_size=image_size, convcut=convcut), batches(image_size))
        for compact in (False, True))
    pruner = masked.pruner
    assert pruner.ended and compacted.pruner.ended
    if fraction == 0.95:  # these end by the rule of the last filter, the others by the number of rounds
        assert min(pruner.widths) == 1 or pruner.rounds < pruner.most_rounds
    else:
        assert pruner.rounds == pruner.most_rounds
    assert compacted.pruner.history == pruner.history
    assert torch.equal(compacted.pruner.alive, pruner.alive)
    assert size(compacted) < size(masked)
    print(len(pruner.history), pruner.rounds, pruner.most_rounds, pruner.history[-1], size(masked), size(compacted))
    assert_same_but_for_the_dead(masked, compacted)
    [(images, _)] = batches(image_size, 1)
    with torch.no_grad():
        torch.testing.assert_close(compacted.network.eval()(images), masked.network.eval()(images), rtol=0, atol=1e-9)
