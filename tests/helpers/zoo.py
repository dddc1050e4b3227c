"""Torchvision's classifiers for tests: at a size that each takes, without what draws at random in
training."""

from unittest.mock import patch

import torch
from torch import nn
from torchvision import models, ops
from torchvision.models.regnet import BlockParams

NAMES = models.list_models(module=models)
CLASSES = 10


def image_size(name: str) -> int:
    """64 pixels, but where a network takes no such images."""
    return {"inception_v3": 75, "maxvit_t": 224, "vit_h_14": 56}.get(name, 64)


def make(name: str, *, random: bool = True, initialise: bool = True) -> nn.Module:
    """``random`` False: nothing is drawn in training."""
    options = {"init_weights": initialise} if name in ("googlenet", "inception_v3") else {}
    if name.startswith(("vit", "maxvit")):
        options["image_size" if name.startswith("vit") else "input_size"] = (
            image_size(name) if name.startswith("vit") else (224, 224)
        )
    network = models.get_model(name, num_classes=CLASSES, **options)
    for module in network.modules() if not random else ():
        if isinstance(module, (nn.Dropout, ops.StochasticDepth)):
            module.p = 0.0
    return network


def make_shapes(name: str, *, random: bool = True) -> nn.Module:
    """The network without numbers: quickly."""
    plan = BlockParams.from_init_params

    def with_numbers(*args, **kwargs):  # regnets compute their widths with tensors
        with torch.device("cpu"):
            return plan(*args, **kwargs)

    with torch.device("meta"), patch.object(BlockParams, "from_init_params", with_numbers):
        return make(name, random=random, initialise=False)
