"""A count of multiply-accumulates that is neither this project's nor another tool's."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def macs_of(network: nn.Module, example: Tensor) -> int:
    """Return the multiply-accumulates of one image, by PyTorch's own counter."""
    training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(example)
    network.train(training)
    return int(counter.get_total_flops()) // 2
