"""The networks that are pruned, as plain modules, so that all tools count and cut the same."""

from torch import nn

from model import build_model, uniform_filters

RATIO = 0.25  # of the templates' widths


def vgg(num_classes: int = 10) -> nn.Module:
    """Return the paper's vgg at a quarter of its widths."""
    return _network("vgg", num_classes)


def resnet18(num_classes: int = 10) -> nn.Module:
    """Return the paper's resnet18 at a quarter of its widths."""
    return _network("resnet18", num_classes)


def _network(name: str, num_classes: int) -> nn.Module:
    return build_model(name, uniform_filters(name, RATIO), num_classes=num_classes, image_size=32)
