"""Loaders that the project's batches are measured against: a plain PyTorch loop's, and one that
keeps images on the device and augments there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from utils.data import Data
from utils.data.batches import PADDING

Batch = tuple[Tensor, Tensor]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images in memory that are augmented one by one, as in most examples of PyTorch."""

    def __init__(self, data: Data):
        self.images: np.ndarray = torch.as_tensor(data.train.images).cpu().numpy()
        self.labels: list[int] = data.train.labels.tolist()
        mean, std = (tuple((t / 255).tolist()) for t in (data.mean.cpu(), data.std.cpu()))
        self.change = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(data.image_size, padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.images[index]), self.labels[index]


def plain_batches(data: Data, size: int, workers: int, device: str) -> Iterator[Batch]:
    """Yield batches of epoch after epoch from a DataLoader with so many processes."""
    loader = DataLoader(
        Pictures(data),
        size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.startswith("cuda") and torch.cuda.is_available(),
        drop_last=True,
        persistent_workers=workers > 0,
    )
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def resident_batches(data: Data, size: int) -> Iterator[Batch]:
    """Yield batches of epoch after epoch, all of an epoch cropped and mirrored at once on the
    device, as airbench's loader does."""
    scale, shift = (1 / data.std)[:, None, None], (data.mean / data.std)[:, None, None]
    images = torch.as_tensor(data.train.images).permute(0, 3, 1, 2).float() * scale - shift
    labels, n, side = data.train.labels, len(images), images.shape[-1]
    padded, device = F.pad(images, (PADDING,) * 4), images.device
    while True:
        down, across = torch.randint(0, 2 * PADDING + 1, (2, n), device=device)
        rows = torch.empty_like(padded[:, :, :side])
        cropped = torch.empty_like(images)
        for by in range(2 * PADDING + 1):
            rows[down == by] = padded[down == by, :, by : by + side]
        for by in range(2 * PADDING + 1):
            cropped[across == by] = rows[across == by, :, :, by : by + side]
        mirrored = torch.rand(n, device=device)[:, None, None, None] < 0.5
        cropped = torch.where(mirrored, cropped.flip(-1), cropped)
        cropped = cropped.contiguous(memory_format=torch.channels_last)
        order = torch.randperm(n, device=device)
        for start in range(0, n - size + 1, size):
            index = order[start : start + size]
            yield cropped[index], labels[index]
