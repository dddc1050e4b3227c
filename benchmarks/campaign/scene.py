"""The scene of a campaign: its scale, the device, the images, a place for files."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from campaign.images import NAME
from campaign.scale import Scale
from utils.data import Data, load_data
from utils.settings import Machine, Storage


@dataclass
class Scene:
    """The scene of a campaign. ``data`` has the folder of images, ``work`` is for its files."""

    scale: Scale
    device: str
    data: Path
    work: Path
    _images: Data | None = field(default=None, repr=False)

    @property
    def on_gpu(self) -> bool:
        """True if the device is a real GPU, which can be asked for its memory."""
        return self.device.startswith("cuda") and torch.cuda.is_available()

    def storage(self, *names: str, save: str) -> Storage:
        """Return a place of its own for the files of one run."""
        place = self.work.joinpath(*names)
        folders = {f"{kind}_dir": str(place / kind) for kind in ("record", "plot", "model")}
        return Storage(save=save, data=str(self.few), cache=False, **folders)

    def machine(self, device: str | None = None) -> Machine:
        """Return the settings of the device, or of another one."""
        return Machine(device=device or self.device)

    def images(self) -> Data:
        """Return the images of part 2, which are read once."""
        if self._images is None:
            self._images = load_data(
                NAME,
                str(self.data),
                self.device,
                limit_train=self.scale.step_images,
                limit_test=self.scale.images,
                batch_size=self.scale.step_batch,
                cache_dir=str(self.records),
            )
        return self._images

    @property
    def few(self) -> Path:
        """A folder like ``data`` with links to the first images alone, for the runs of part 1: to
        list all of them takes longer than such a run."""
        place = self.work / "few"
        if not place.exists():
            scale = self.scale
            most = max(scale.images, scale.watched_batches * scale.watched_batch)
            for folder in sorted((self.data / NAME).glob("t*/*/")):
                own = place / folder.relative_to(self.data)
                own.mkdir(parents=True)
                for name in sorted(os.listdir(folder))[: most // 10 + 1]:
                    (own / name).symlink_to(folder / name)
        return place

    @property
    def records(self) -> Path:
        """The folder of the searches of part 3, and of the decoded images."""
        return self.work / "records"

    def tidy(self) -> None:
        """Give back the memory of a piece that has ended."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def works(self) -> bool:
        """Return False if the device takes no more work, as after an illegal memory access."""
        try:
            return torch.ones(2, device=self.device).sum().item() == 2
        except RuntimeError:
            return False
