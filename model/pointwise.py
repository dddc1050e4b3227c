"""1x1 convolutions with a stride, which PyTorch computes wrong on a CPU.

For channels_last images, oneDNN's backward pass writes beyond its memory where they have less than
16 channels or an odd width (PyTorch 2.7 to 2.14).
"""

from torch import nn


def pointwise(inp: int, out: int, stride: int, *, bias: bool) -> nn.Module:
    """Return a 1x1 convolution of every ``stride``-th pixel of every ``stride``-th row.

    The pixels are picked first (a 1x1 pooling), which gives the same numbers as the convolution's
    own stride.
    """
    conv = nn.Conv2d(inp, out, 1, bias=bias)
    return conv if stride == 1 else nn.Sequential(nn.MaxPool2d(1, stride), conv)


def has_strided_pointwise(network: nn.Module) -> bool:
    """Return True if a network has such convolutions, as other people's have."""
    return any(
        isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == {1} and max(layer.stride) > 1
        for layer in network.modules()
    )
