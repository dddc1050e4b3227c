"""MobileNetV2 (Sandler et al., CVPR 2018), with a shortcut around every bottleneck, for small
images."""

from torch import Tensor, nn

from model.cost import Cost, Number, is_convolution
from model.gate import gate, norm_and_gate
from model.pointwise import pointwise

STAGES = [1, 2, 3, 4, 3, 3, 1]  # bottlenecks per stage
TEMPLATE = [32] + [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320] + [1280]
# the layers that have each width
LAYERS = [["stem.0"], *[[f"bottlenecks.{k}.branch.6"] for k in range(sum(STAGES))], ["head.0"]]
SEARCH_EXTRA = 10  # filters that the search adds to widths below 10
EXPANSION = 6  # hidden channels per input channel, in every bottleneck but the first


def strides(image_size: int) -> list[int]:
    """Return the stride of each bottleneck; a stage's stride is that of its first one."""
    per_stage = [1, 2, 2, 2, 1, 2, 1] if image_size < 64 else [1, 2, 2, 2, 2, 2, 1]
    return [
        stride if n == 0 else 1 for stride, depth in zip(per_stage, STAGES) for n in range(depth)
    ]


class Bottleneck(nn.Module):
    """y = gate(BN(1x1(ReLU6(BN(depthwise 3x3(ReLU6(BN(1x1(x)))))))) + shortcut)."""

    def __init__(self, inp: int, out: int, expansion: int, stride: int, gated: bool, convcut: bool):
        super().__init__()
        hidden = expansion * inp
        self.branch = nn.Sequential(
            nn.Conv2d(inp, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, out, 1),
            nn.BatchNorm2d(out),
        )

        # the identity, or a convolution where the shape changes
        self.shortcut: nn.Module = nn.Identity()
        if is_convolution(inp, out, stride, convcut):
            self.shortcut = nn.Sequential(
                pointwise(inp, out, stride, bias=True), nn.BatchNorm2d(out)
            )

        self.gate = gate(out, gated)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.branch(x) + self.shortcut(x))


class MobileNetV2(nn.Module):
    """Stem, 17 bottlenecks, a last 1x1 convolution, average pooling, 1x1 convolution to the
    classes.

    Shapes: images (N, 3, S, S) -> logits (N, num_classes).
    """

    def __init__(
        self, filters: list[int], num_classes: int, image_size: int, gated: bool, convcut: bool
    ):
        super().__init__()
        stem, *widths, last = filters
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, padding=1), norm_and_gate(stem, gated), nn.ReLU6(inplace=True)
        )

        self.bottlenecks = nn.Sequential(
            *[
                Bottleneck(inp, out, 1 if k == 0 else EXPANSION, stride, gated, convcut)
                for k, (inp, out, stride) in enumerate(
                    zip([stem] + widths, widths, strides(image_size))
                )
            ]
        )

        self.head = nn.Sequential(
            nn.Conv2d(widths[-1], last, 1), norm_and_gate(last, gated), nn.ReLU6(inplace=True)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Conv2d(last, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.head(self.bottlenecks(self.stem(x))))).flatten(1)


def count(cost: Cost, filters: Number, num_classes: int, image_size: int, convcut: bool) -> None:
    """Add the layers above, in their order, to ``cost``."""
    stem, *widths, last = filters
    size = image_size
    cost.conv(3, stem, 3, size, bias=True)
    cost.norm(stem)

    inp = stem
    for k, (out, stride) in enumerate(zip(widths, strides(image_size))):
        hidden = inp * (1 if k == 0 else EXPANSION)
        cost.conv(inp, hidden, 1, size, bias=True)
        cost.norm(hidden)

        # depthwise, then 1x1 to the width that is counted
        size = -(-size // stride)  # rounded up
        cost.conv(hidden, hidden, 3, size, bias=True, depthwise=True)
        cost.norm(hidden)
        cost.conv(hidden, out, 1, size, bias=True)
        cost.norm(out)

        convolved = cost.shortcut(inp, out, stride, convcut)
        cost.conv(inp, out, 1, size, bias=True, when=convolved)
        cost.norm(out, when=convolved)
        inp = out

    cost.conv(inp, last, 1, size, bias=True)
    cost.norm(last)
    cost.conv(last, num_classes, 1, 1, bias=True)


build = MobileNetV2
