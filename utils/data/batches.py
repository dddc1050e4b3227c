"""Batches of images on the device: cropped, flipped, rotated and normalised together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import image_shape
from utils.data.dataset import Data, Split

PADDING = 4  # pixels around an image, for random crops
# images that are evaluated together if they have 64 pixels or fewer; as many pixels of larger ones
EVALUATED = 500


@dataclass(frozen=True)
class Augmentation:
    """The random changes of training images."""

    crop: bool
    flip: bool
    rotation: float


class Batches:
    """The batches of a split: (images (B, C, H, W) float, labels (B,)) on its device, normalised.

    With an ``augmentation``, the images are shuffled and augmented anew for each
    ``epoch(generator)``. The last batch has the rest; if that is one image alone, it goes with the
    batch before, for one image has no mean and deviation over a batch.
    """

    def __init__(
        self,
        data: Data,
        split: Split,
        batch_size: int,
        augmentation: Augmentation | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.split, self.batch_size, self.augmentation = split, batch_size, augmentation
        self.channels, self.height, self.width = image_shape(data.image_size, data.channels)
        self.scale, self.shift = (1 / data.std).to(dtype), (data.mean / data.std).to(dtype)
        self.padding = PADDING if augmentation and augmentation.crop else 0
        # the sides of images with their border
        self.rows, self.columns = self.height + 2 * self.padding, self.width + 2 * self.padding
        # images on the disk are read by batches
        self.pixels = self._rows(split.images) if isinstance(split.images, Tensor) else None

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def parts(self) -> list[slice]:
        """The images of each batch, as slices of an epoch's order."""
        n, starts = len(self.split), list(range(0, len(self.split), self.batch_size))
        if n % self.batch_size == 1 and len(starts) > 1:
            del starts[-1]
        return [slice(start, end) for start, end in zip(starts, [*starts[1:], n])]

    def _rows(self, images: Tensor) -> Tensor:
        """Return images (B, H, W, C), padded, as one row per pixel: a crop is a gather of rows."""
        return (F.pad(images, (0, 0, *[self.padding] * 4)) if self.padding else images).reshape(
            -1, self.channels
        )

    def _read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Read the images ``index`` (B,), on the CPU, in the order in which they are stored.

        Returns them with the place of each among them.
        """
        stored, place = np.unique(index.numpy(), return_inverse=True)
        read = np.ascontiguousarray(self.split.images[stored]), place
        images, at = (
            torch.from_numpy(array).to(self.split.labels.device, non_blocking=True)
            for array in read
        )
        return self._rows(images), at

    def epoch(self, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one pass over the split.

        ``generator``, on the CPU, determines the order and the augmentation, if there is any.
        """
        device, n = self.split.labels.device, len(self.split)
        order = torch.arange(n)
        top, left, flip, angle = torch.zeros(4, n)

        # all random numbers of the epoch, drawn on the CPU
        if self.augmentation:
            order = torch.randperm(n, generator=generator)
            top, left = torch.randint(0, 2 * self.padding + 1, (2, n), generator=generator)
            flip = torch.rand(n, generator=generator) < 0.5 if self.augmentation.flip else flip
            angle = (2 * torch.rand(n, generator=generator) - 1) * self.augmentation.rotation
        stored = order
        order, top, left, flip, angle = (
            t.to(device, non_blocking=True)
            for t in (order, top.long(), left.long(), flip.bool(), angle)
        )
        down, across = (torch.arange(side, device=device) for side in (self.height, self.width))

        # a batch: the pixels of each image's crop, mirrored or not
        for part in self.parts:
            index = order[part]
            pixels, place = (
                (self.pixels, index) if self.pixels is not None else self._read(stored[part])
            )
            rows = (place * self.rows + top[part])[:, None] + down
            mirrored = torch.where(flip[part, None], self.width - 1 - across, across)
            at = rows[:, :, None] * self.columns + (left[part, None] + mirrored)[:, None, :]

            images = pixels.index_select(0, at.flatten())
            images = images.view(len(index), self.height, self.width, self.channels)
            images = images.permute(0, 3, 1, 2).to(self.scale.dtype)  # laid out as channels_last
            if self.augmentation and self.augmentation.rotation:
                images = rotate(images, angle[part])

            yield (
                images * self.scale[:, None, None] - self.shift[:, None, None],
                self.split.labels[index],
            )


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image (N, C, H, W) about its centre by its own angle (N,), to the nearest pixel,
    with black corners."""
    radians = torch.deg2rad(degrees)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    height, width = images.shape[2:]  # on a grid, both range from -1 to 1
    across, down = -sin * (height / width), sin * (width / height)
    theta = torch.stack(
        [torch.stack([cos, across, zero], dim=1), torch.stack([down, cos, zero], dim=1)], dim=1
    )
    grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def augmentation(data: Data, *, search: bool = False) -> Augmentation:
    """Return the augmentation of a data set; the search may crop less."""
    return Augmentation(
        data.settings.crop and (data.settings.search_crop or not search),
        data.settings.flip,
        data.settings.rotation,
    )


def training_batches(
    data: Data, batch_size: int, *, search: bool = False, dtype: torch.dtype = torch.float32
) -> Batches:
    """Return the batches of the training images, augmented."""
    return Batches(data, data.train, batch_size, augmentation(data, search=search), dtype)


def evaluation_batches(
    data: Data, batch_size: int | None = None, split: Split | None = None
) -> Batches:
    """Return the batches of the test images, or of another ``split``, in order and unchanged."""
    split = split or data.test
    _, height, width = image_shape(data.image_size)
    batch_size = batch_size or max(1, EVALUATED * 64**2 // max(64**2, height * width))
    return Batches(data, split, min(batch_size, len(split)))
