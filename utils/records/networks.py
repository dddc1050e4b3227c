"""Stored networks: the weights that a training, a base network or a fine-tuning left, as networks
again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from model import (
    MODELS,
    Shape,
    build_model,
    costs_when_pruned,
    count_params,
    expect,
    is_imported,
    pixels_in,
    template,
)
from model.names import canonical
from utils.errors import UserError
from utils.records.files import are_widths, read_tensors
from utils.records.run import taken_up
from utils.records.shapes import shape_in

if TYPE_CHECKING:
    from torch import Tensor, nn

HINT = "train it again, or restore it"


class Stored(TypedDict):
    """What the weights of a finished training say of themselves. Beside these the file may have
    ``base_filters``."""

    model: str
    dataset: str
    num_classes: int
    image_size: int | list[int]
    convcut: bool
    filters: list[int]
    begun_with: dict[str, Any]
    network: dict[str, Tensor]


def load_network(path: str | Path, model: str | None = None) -> nn.Module:
    """The network whose weights ``path`` holds, saved_models/<model>/NAME@<100 * ratio>.pt or a
    base network's NAME.pt.

    On the CPU and in eval mode, (N, C, H, W) -> (N, num_classes); fine-tuned ones with what was
    removed from them. Runs no code from the file: a network that is read from its graph is imported
    by the name that you give, ``model``. Raises UserError for a file that is missing, damaged, or
    not the weights of a finished training.
    """
    return network_of(Path(path), read_stored(Path(path), model))


def read_stored(path: Path, model: str | None = None) -> Stored:
    """What the file of a finished training holds, checked but for the weights; of a network that is
    read from its graph only where it is the ``model`` that is asked for. Raises UserError."""
    stored: Any = read_tensors(path)
    if "optimizer" in stored or "network" not in stored:
        raise UserError(
            f"{path}: unfinished work, or not the weights of a network; finish its training "
            "with --resume"
        )

    def check() -> Stored:
        name = stored["model"]
        if (
            isinstance(name, str)
            and is_imported(name)
            and (model is None or name != canonical(model))
        ):
            raise UserError(
                f"{path}: weights of {name}, which a file alone is not trusted to have "
                f"imported; say load_network(…, {name!r})"
            )
        if name not in MODELS and not (isinstance(name, str) and is_imported(name)):
            raise ValueError(f"model {name!r}")
        # which may be the one size that it takes
        expect(name, stored["num_classes"], (pixels_in(shape_in(stored)),))
        if not (
            are_widths(stored["filters"], len(template(name)))
            and isinstance(stored["convcut"], bool)
        ):
            raise ValueError("filters, convcut")
        stored["begun_with"] = dict(stored.get("begun_with", {}))  # earlier versions did not say
        found: Stored = stored
        return found

    return taken_up(path, check, HINT)


def network_of(path: Path, stored: Stored) -> nn.Module:
    """The network of what was read from ``path``. Raises UserError where its weights don't fit."""

    def build() -> nn.Module:
        name, filters, shape = stored["model"], stored["filters"], shape_in(stored)
        expect_enough(stored, shape)
        if kept_filters(stored) is not None and not is_imported(name):
            network = pruned(path, stored, shape)
        else:
            network = build_model(name, filters, convcut=stored["convcut"], **shape)
        # an earlier version's, which ran the graph
        if is_imported(name) and network.state_dict().keys() != stored["network"].keys():
            network = (
                pruned(path, stored, shape)
                if "kept" in stored["begun_with"]
                else graph_of(name, filters, shape, gated=False)
            )
        network.load_state_dict(stored["network"])
        return network.eval()

    return taken_up(path, build, HINT)


def kept_filters(stored: Mapping[str, Any]) -> Any:
    """Which filters of each layer a pruning has kept, as weights say it; None where none was."""
    return stored.get("kept", stored["begun_with"].get("kept"))


def expect_enough(stored: Mapping[str, Any], shape: Shape) -> None:
    """Raises RuntimeError for weights of fewer numbers than their filters need, before a network of
    these takes memory."""
    name, there = stored["model"], sum(tensor.numel() for tensor in stored["network"].values())
    # that earlier versions left out, at most
    unused = count_params(name, template(name), **shape) if is_imported(name) else 0
    base: Any = stored.get("base_filters")
    filters = stored["filters"]
    if not is_imported(name) and are_widths(base, len(filters)):
        # whose shortcuts it has
        needed = costs_when_pruned(name, base, "params", **shape)(filters)
    else:
        needed = count_params(name, filters, convcut=stored.get("convcut", False), **shape)
    if needed > there + unused:
        raise RuntimeError("it has fewer weights than its filters need")


def pruned(path: Path, stored: Stored, shape: Shape) -> nn.Module:
    """A network as a pruning cut it down, its weights to be loaded: the base network's, without
    what was not kept."""
    import torch

    from model.gate import gates_of
    from model.graph.compaction import Compactor
    from utils.data.memory import physical_memory

    base: Any = stored.get("base_filters") or base_filters(path, stored)
    if not are_widths(base, len(stored["filters"])):
        raise ValueError("base_filters")
    model, widths = stored["model"], list(base)
    if 4 * count_params(model, widths, convcut=stored["convcut"], **shape) > (
        physical_memory() or float("inf")
    ):
        raise ValueError("base_filters: its base network does not fit into this machine's memory")
    network = (
        graph_of(model, widths, shape, gated=True)
        if is_imported(model)
        else build_model(model, widths, gated=True, **shape)
    )
    gates = gates_of(network)
    kept = kept_filters(stored)
    if len(kept) != len(gates) or [len(set(indices)) for indices in kept] != stored["filters"]:
        raise ValueError("kept")
    masks = [
        torch.zeros(len(gate.weight), dtype=torch.bool).index_fill(0, torch.tensor(indices), True)
        for gate, indices in zip(gates, kept)
    ]
    compactor = Compactor(network, pixels_in(shape), multiple=1)
    compactor.compact(masks, worthwhile=0)
    return compactor.network


def graph_of(model: str, filters: list[int], shape: Shape, *, gated: bool) -> nn.Module:
    """A network that is read from its graph, as one that runs its graph: as earlier versions
    trained it."""
    from model.graph.user_network import imported

    blueprint = imported(model).blueprint(**shape)
    return blueprint.run_graph(
        blueprint.resized(imported(model).make(shape["num_classes"]), filters), filters, gated
    )


def base_filters(path: Path, stored: Stored) -> list[int]:
    """The widths before pruning, where the file, of an earlier version, does not say them: its base
    network's, that lies beside it."""
    base = path.with_name(f"{stored['begun_with']['base']}.pt")
    if not base.exists():
        raise UserError(
            f"{path}: an earlier version's, which does not say how wide its base network was; "
            f"put {base} back beside it"
        )
    found: list[int] = read_stored(base)["filters"]
    return found
