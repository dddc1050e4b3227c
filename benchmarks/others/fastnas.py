"""FastNAS of nvidia-modelopt: the best of the subnetworks within a budget, by their accuracy on
images, found before any further training."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import modelopt.torch.prune as modelopt
import torch
from modelopt.torch.prune.fastnas import FastNASConfig
from torch import Tensor, nn

from others.counting import macs_of
from utils.data import Data, evaluation_batches, training_batches
from utils.training.device import Runner, generator
from utils.training.loop import evaluate

DIVISOR = 4  # its own, 32, leaves layers of 16 filters alone
PARTS = tuple(part / 16 for part in range(1, 17))
SHRINK = 0.9  # of its constraint, until the network is within the budget


def fast_nas(
    network: nn.Module, macs: int, example: Tensor, data: Data, runner: Runner, seed: int
) -> nn.Module:
    """Return the subnetwork that FastNAS finds, with at most ``macs`` multiply-accumulates.

    It judges subnetworks by the images held out.
    """
    torch.manual_seed(seed)
    network = network.to(memory_format=torch.contiguous_format)  # it knows no other
    assert data.validation is not None
    held_out = evaluation_batches(data, split=data.validation)
    batches = list(training_batches(data, 64).epoch(generator(seed)))[:16]
    whole, part = macs_of(network, example), macs / macs_of(network, example)

    # It counts otherwise: norms and activations too.
    while True:
        found = searched(network, part, batches, held_out, example, runner)
        if macs_of(found, example) <= macs:
            return found
        part *= SHRINK
        print(f"FastNAS: over the budget; again with {part * whole:,.0f}", flush=True)


def searched(
    network: nn.Module,
    part: float,
    batches: list[tuple[Tensor, Tensor]],
    held_out: Any,
    example: Tensor,
    runner: Runner,
) -> nn.Module:
    """Return the subnetwork that FastNAS finds within this ``part`` of the network's FLOPs."""
    space = FastNASConfig().model_dump()
    for kind in space.values():
        for choices in kind.values():
            for unit in ("channel", "feature"):
                if f"{unit}_divisor" in choices:
                    choices[f"{unit}_divisor"] = DIVISOR
                    choices[f"{unit}s_ratio"] = PARTS

    with tempfile.TemporaryDirectory() as folder:
        found, _ = modelopt.prune(
            copy.deepcopy(network),
            mode=[("fastnas", space)],
            constraints={"flops": f"{100 * part:.3f}%"},
            dummy_input=example,
            config={
                "data_loader": batches,
                "score_func": lambda one: evaluate(one, held_out, runner)[1],
                "collect_func": lambda batch: (batch[0],),
                "checkpoint": str(Path(folder, "search.pt")),
            },
        )
    return found
