"""VGG11 with batch norm (Simonyan & Zisserman, ICLR 2015), for images of 32x32 pixels and more."""

from torch import Tensor, nn

from model.cost import Cost, Number
from model.gate import norm_and_gate

TEMPLATE = [64, 128, 256, 256, 512, 512, 512, 512]
POOLED = {0, 1, 3, 5, 7}  # the layers that a 2x2 max pooling follows
# the layers that have each width
LAYERS = [
    [f"features.{3 * i + sum(pooled < i for pooled in POOLED)}"] for i in range(len(TEMPLATE))
]
SEARCH_EXTRA = 0  # filters that the search adds to widths below 10


class VGG(nn.Module):
    """Eight 3x3 convolutions, each with batch norm, gate and ReLU; average pooling; one linear
    layer.

    Shapes: images (N, 3, S, S) with S >= 32 -> logits (N, num_classes).
    """

    def __init__(
        self, filters: list[int], num_classes: int, image_size: int, gated: bool, convcut: bool
    ):
        super().__init__()
        layers: list[nn.Module] = []
        inp = 3
        for i, out in enumerate(filters):
            layers += [
                nn.Conv2d(inp, out, 3, padding=1),
                norm_and_gate(out, gated),
                nn.ReLU(inplace=True),
            ]
            if i in POOLED:
                layers.append(nn.MaxPool2d(2))
            inp = out

        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inp, num_classes)
        self.initialize()

    def initialize(self) -> None:
        """Initialise all layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # there is a bias
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.5)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def count(cost: Cost, filters: Number, num_classes: int, image_size: int, convcut: bool) -> None:
    """Add the layers above, in their order, to ``cost``."""
    inp, size = 3, image_size
    for i, out in enumerate(filters):
        cost.conv(inp, out, 3, size, bias=True)
        cost.norm(out)
        if i in POOLED:
            size //= 2
        inp = out
    cost.linear(inp, num_classes)


build = VGG
