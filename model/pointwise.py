"""A 1x1 convolution with a stride."""

from torch import nn


def pointwise(inp: int, out: int, stride: int, *, bias: bool) -> nn.Module:
    """Return a 1x1 convolution of every ``stride``-th pixel of every ``stride``-th row.

    The pixels are picked first (a 1x1 pooling), which gives the same numbers as the convolution's
    own stride. With a stride of its own, oneDNN's backward pass writes beyond its memory for
    channels_last images of odd widths (PyTorch 2.14, CPU).
    """
    conv = nn.Conv2d(inp, out, 1, bias=bias)
    return conv if stride == 1 else nn.Sequential(nn.MaxPool2d(1, stride), conv)
