"""What the tests know of each built-in network that its module does not say: one record each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from model import mobilenetv2, preact_resnet, template, uniform_filters


@dataclass(frozen=True)
class BuiltIn:
    """A network, as it is tested.

    ``widths`` are of a small one that can be pruned for a few rounds: about 10 to 40 filters a
    layer. Widths that a shortcut joins are equal in some blocks, and in others not. ``per_round``
    filters a round and the learning rate ``lr`` suit searches of it on noise.

    ``gate_places`` gives the modules of the ungated network that have gates behind their outputs,
    in the order of the widths. ``shortcuts`` gives, for the size of the images, what each residual
    block's shortcut joins: the number of the width that it reads, that of the width that it writes,
    and its stride. Nothing else changes the size of the maps before the last block.
    """

    widths: list[int]
    gate_places: Callable[[nn.Module], list[nn.Module]]
    shortcuts: Callable[[int], Iterable[tuple[int, int, int]]] = lambda image_size: ()
    per_round: int = 24
    lr: float = 0.02

    @property
    def few(self) -> list[int]:
        """Widths so small that every filter matters."""
        return [width // 3 for width in self.widths]

    @property
    def residual(self) -> bool:
        """Whether there are shortcuts."""
        return bool([*self.shortcuts(32)])


class Records(dict[str, BuiltIn]):
    """A record for each name; says where to add one that is missing."""

    def __missing__(self, name: str) -> BuiltIn:
        raise KeyError(f"{name} has no record in BUILT_IN, tests/helpers/built_in.py: add one")


BUILT_IN = Records(
    {
        "vgg": BuiltIn(
            widths=[12, 17, 24, 24, 33, 30, 32, 27],
            gate_places=lambda vgg: [
                module for module in vgg.features if isinstance(module, nn.BatchNorm2d)
            ],
        ),
        "resnet18": BuiltIn(
            widths=[12, 9, 12, 12, 10, 18, 19, 24, 24, 21, 33, 24, 33, 32, 27, 40, 40],
            gate_places=lambda resnet: [
                *[norm for block in resnet.blocks for norm in (block.bn1, block.bn2)],
                resnet.pool,
            ],
            shortcuts=lambda image_size: zip(
                range(0, 16, 2), range(2, 18, 2), preact_resnet.strides(image_size)
            ),
        ),
        "mobilenetv2": BuiltIn(
            widths=[10, 9, 9, 10, 12, 12, 12, 16, 16, 17, 17, 24, 24, 19, 24, 24, 24, 30, 48],
            gate_places=lambda mobilenet: [
                mobilenet.stem[1],
                *[bottleneck.gate for bottleneck in mobilenet.bottlenecks],
                mobilenet.head[1],
            ],
            shortcuts=lambda image_size: zip(
                range(17), range(1, 18), mobilenetv2.strides(image_size)
            ),
            per_round=36,
            lr=2e-4,  # on noise it is chaotic: rounding must not grow
        ),
    }
)


def narrowest(name: str) -> float:
    """Return a small ratio at which every layer has filters to lose."""
    return next(
        ratio for ratio in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1) if min(uniform_filters(name, ratio)) > 1
    )


def small(name: str) -> list[int]:
    """Return widths of 8 to 12 that follow the template: small enough to train in a test."""
    return [min(12, max(8, width // 32)) for width in template(name)]
