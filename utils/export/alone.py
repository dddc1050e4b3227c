"""Runs an exported network.py in a process of its own, as a user would: without this project.

Arguments: the exported folder; a file of ``images``, a list of batches, and ``labels``, those of
the last one; the file to write: ``outputs`` of each batch in evaluation, and of one step of
training on the last its ``trained`` outputs, ``gradients`` and ``buffers``.
"""

import sys
from typing import Any

import torch

SEED = 0


def training_step(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> dict[str, Any]:
    """Return the results of a training step before it changes weights, or PyTorch's ``error``."""
    network.train()
    torch.manual_seed(SEED)
    try:
        outputs = network(images)
    except (RuntimeError, ValueError) as error:  # of a norm, for a single number per channel
        return {"error": str(error)[:200]}

    torch.nn.functional.cross_entropy(outputs, labels).backward()
    gradients = {
        name: weight.grad
        for name, weight in network.named_parameters(remove_duplicate=False)
        if weight.grad is not None
    }
    return {
        "trained": outputs.detach(),
        "gradients": gradients,
        "buffers": dict(network.named_buffers(remove_duplicate=False)),
    }


def main(folder: str, given: str, found: str) -> None:
    """Run the network in ``folder`` on the batches in ``given``, and write the results."""
    torch.set_num_threads(1)
    sys.path.insert(0, folder)
    from network import Network  # type: ignore[import-not-found]  # the folder's

    network = Network()
    network.load_state_dict(torch.load(f"{folder}/weights.pt", weights_only=True))
    task = torch.load(given, weights_only=True)
    with torch.no_grad():
        outputs = [network.eval()(images) for images in task["images"]]
    torch.save(
        {"outputs": outputs, **training_step(network, task["images"][-1], task["labels"])}, found
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
