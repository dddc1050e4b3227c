"""Pre-activation ResNet18 (He et al., Identity Mappings in Deep Residual Networks, ECCV 2016)."""

from torch import Tensor, nn

from model.cost import Cost, Number, is_convolution
from model.gate import gate, norm_and_gate
from model.pointwise import pointwise

# Stem, then (first, second) width of the eight blocks. Width 2k is what block k reads, 2k+1 lies
# between its two convolutions, 2k+2 is what it writes; the last width is what the classifier reads.
TEMPLATE = [64] + [64, 64] * 2 + [128, 128] * 2 + [256, 256] * 2 + [512, 512] * 2
# the layers that have each width
LAYERS = [["stem"], *[[f"blocks.{k}.conv{n}"] for k in range(8) for n in (1, 2)]]
SEARCH_EXTRA = 10  # filters that the search adds to widths below 10


def strides(image_size: int) -> list[int]:
    """Return the stride of each block; the first stage keeps 32x32 images and halves 64x64 ones."""
    return [1 if image_size < 64 else 2, 1, 2, 1, 2, 1, 2, 1]


class PreActBlock(nn.Module):
    """a = ReLU(gate(BN(x))); y = conv(ReLU(gate(BN(conv(a))))) + shortcut.

    The shortcut is a 1x1 convolution of a where the shape changes, else x itself, past the gate.
    """

    def __init__(self, inp: int, mid: int, out: int, stride: int, gated: bool, convcut: bool):
        super().__init__()
        self.bn1 = norm_and_gate(inp, gated)
        self.conv1 = nn.Conv2d(inp, mid, 3, stride, padding=1, bias=False)
        self.bn2 = norm_and_gate(mid, gated)
        self.conv2 = nn.Conv2d(mid, out, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if is_convolution(inp, out, stride, convcut):
            self.shortcut = pointwise(inp, out, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(self.bn1(x))
        branch = self.conv2(self.relu(self.bn2(self.conv1(a))))
        return branch + (x if self.shortcut is None else self.shortcut(a))


class PreActResNet18(nn.Module):
    """Stem, eight blocks, batch norm, average pooling, gate, linear layer (no ReLU before it).

    Shapes: images (N, 3, S, S) -> logits (N, num_classes).
    """

    def __init__(
        self, filters: list[int], num_classes: int, image_size: int, gated: bool, convcut: bool
    ):
        super().__init__()
        self.stem = nn.Conv2d(3, filters[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *[
                PreActBlock(
                    filters[2 * k], filters[2 * k + 1], filters[2 * k + 2], stride, gated, convcut
                )
                for k, stride in enumerate(strides(image_size))
            ]
        )

        self.bn = nn.BatchNorm2d(filters[-1])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = gate(filters[-1], gated)
        self.classifier = nn.Linear(filters[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn(self.blocks(self.stem(x)))).flatten(1)
        return self.classifier(self.gate(x))


def count(cost: Cost, filters: Number, num_classes: int, image_size: int, convcut: bool) -> None:
    """Add the layers above, in their order, to ``cost``."""
    size = image_size
    cost.conv(3, filters[0], 3, size, bias=False)
    for k, stride in enumerate(strides(image_size)):
        inp, mid, out = filters[2 * k : 2 * k + 3]
        size = -(-size // stride)  # rounded up

        cost.norm(inp)
        cost.conv(inp, mid, 3, size, bias=False)
        cost.norm(mid)
        cost.conv(mid, out, 3, size, bias=False)
        cost.conv(inp, out, 1, size, bias=False, when=cost.shortcut(inp, out, stride, convcut))
    cost.norm(filters[-1])
    cost.linear(filters[-1], num_classes)


build = PreActResNet18
