"""Stored networks: makes networks from the weights of trainings, base networks and fine-tunings."""

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
from utils.errors import UserError, physical_memory
from utils.records.files import are_widths, read_tensors
from utils.records.run import load_checked
from utils.records.shapes import shape_in

if TYPE_CHECKING:
    from torch import Tensor, nn

HINT = "train it again, or restore it"


class Stored(TypedDict):
    """The content of the weights of a finished training.

    The file may also have ``base_filters``.
    """

    model: str
    dataset: str
    num_classes: int
    image_size: int | list[int]
    convcut: bool
    filters: list[int]
    begun_with: dict[str, Any]
    network: dict[str, Tensor]


def load_network(path: str | Path, model: str | None = None) -> nn.Module:
    """Return the network whose weights are in ``path``.

    ``path`` is saved_models/<model>/NAME@<100 * ratio>.pt, or a base network's NAME.pt. The network
    is on the CPU and in eval mode, (N, C, H, W) -> (N, num_classes); fine-tuned networks come with
    their filters removed. Runs no code from the file: a user's network is imported by the name
    ``model`` that you give. Raises UserError for a file that is missing, damaged, or not the
    weights of a finished training.
    """
    return network_of(Path(path), read_stored(Path(path), model))


def read_stored(path: Path, model: str | None = None) -> Stored:
    """Return the content of a finished training's weights, checked except for the weights
    themselves.

    A user's network is only read if it is the ``model`` that is asked for. Raises UserError.
    """
    return check_stored(path, read_tensors(path), model)


def check_stored(path: Path, stored: Any, model: str | None = None) -> Stored:
    """Return the content of ``path`` as that of a finished training's weights, as ``read_stored``
    does."""
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

        # a network may take images of this size only
        expect(name, stored["num_classes"], (pixels_in(shape_in(stored)),))
        if not (
            are_widths(stored["filters"], len(template(name)))
            and isinstance(stored["convcut"], bool)
        ):
            raise ValueError("filters, convcut")
        # earlier versions did not store it
        stored["begun_with"] = dict(stored.get("begun_with", {}))
        found: Stored = stored
        return found

    return load_checked(path, check, HINT)


def network_of(path: Path, stored: Stored) -> nn.Module:
    """Return the network of a file's content. Raises UserError if its weights don't fit."""

    def build() -> nn.Module:
        name, filters, shape = stored["model"], stored["filters"], shape_in(stored)
        expect_enough(stored, shape)
        if kept_filters(stored) is not None and not is_imported(name):
            network = pruned(path, stored, shape)
        else:
            network = build_model(name, filters, convcut=stored["convcut"], **shape)

        # weights of an earlier version, which ran the network's graph
        if is_imported(name) and network.state_dict().keys() != stored["network"].keys():
            network = (
                pruned(path, stored, shape)
                if "kept" in stored["begun_with"]
                else graph_of(name, filters, shape, gated=False)
            )
        network.load_state_dict(stored["network"])
        return network.eval()

    return load_checked(path, build, HINT)


def kept_filters(stored: Mapping[str, Any]) -> Any:
    """Return which filters of each layer a pruning has kept, as weights say it; None if there was
    no pruning."""
    return stored.get("kept", stored["begun_with"].get("kept"))


def expect_enough(stored: Mapping[str, Any], shape: Shape) -> None:
    """Raise RuntimeError for weights with fewer numbers than their filters need.

    This is checked before a network of that size takes memory.
    """
    name, there = stored["model"], sum(tensor.numel() for tensor in stored["network"].values())
    # the most that earlier versions may have left out
    unused = count_params(name, template(name), **shape) if is_imported(name) else 0
    base: Any = stored.get("base_filters")
    filters = stored["filters"]
    if not is_imported(name) and are_widths(base, len(filters)):
        # a pruned network has the shortcuts of its base network
        needed = costs_when_pruned(name, base, "params", **shape)(filters)
    else:
        needed = count_params(name, filters, convcut=stored.get("convcut", False), **shape)
    if needed > there + unused:
        raise RuntimeError("it has fewer weights than its filters need")


def pruned(path: Path, stored: Stored, shape: Shape) -> nn.Module:
    """Return a network as a pruning cut it down, for its weights: the base network without the
    filters that were not kept."""
    import torch

    from model.gate import gates_of
    from model.graph.compaction import Compactor

    # the base network, at its own widths
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

    # and what was removed from it
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
    """Return a user's network as one that runs its graph, as earlier versions trained it."""
    from model.graph.user_network import imported

    blueprint = imported(model).blueprint(**shape)
    return blueprint.run_graph(
        blueprint.resized(imported(model).make(shape["num_classes"]), filters), filters, gated
    )


def base_filters(path: Path, stored: Stored) -> list[int]:
    """Return the widths before pruning, for a file of an earlier version, from the base network
    beside it."""
    base = path.with_name(f"{stored['begun_with']['base']}.pt")
    if not base.exists():
        raise UserError(
            f"{path}: an earlier version's, which does not say how wide its base network was; "
            f"put {base} back beside it"
        )
    found: list[int] = read_stored(base)["filters"]
    return found
