"""How weights and images are laid out in training."""

import pytest
from torch import nn

from utils.data import load_data
from utils.settings import TrainingSettings
from utils.training.device import Runner
from utils.training.train import train


class Watched(nn.Module):
    """A network with a convolution of its own shape, which notes how images are laid out."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv, self.head = nn.Conv2d(4, 5, kernel, stride), nn.Linear(5, 10)
        self.seen = set()

    def forward(self, images):
        found = self.conv(self.norm(self.stem(images)).relu())
        if self.training:
            for tensor in (images, self.stem.weight, found):
                self.seen.add(tensor.is_contiguous())
        return self.head(found.mean((2, 3)))


@pytest.mark.parametrize("kernel, stride, contiguous", [(1, 2, True), (1, 1, False), (3, 2, False)])
def test_1x1_convolutions_with_a_stride_never_see_channels_last_images(kernel, stride, contiguous):
    """PyTorch's backward pass of those writes beyond its memory on a CPU: a pruning to 3 % of a
    network with such shortcuts, of images of 64 pixels, ended in a crash."""
    data = load_data("digits", limit_train=100, limit_test=10)
    settings = TrainingSettings(dataset="digits", epochs=1, batch_size=50)
    trained = train(settings, lambda: Watched(kernel, stride), data, Runner("cpu"))
    assert trained.network.seen == {contiguous}
