"""Preparation of every run before it trains: data, device, settings on the screen, refusals."""

import sys
from pathlib import Path

from model import ImageSize
from utils.data import Data, augmentation, load_data
from utils.data.memory import gpu_memory
from utils.errors import UserError, physical_memory
from utils.settings import Machine, SearchSettings, Settings, Storage, TrainingSettings, stored
from utils.training.device import Runner, check_compiler, pick_device


def prepare(
    settings: SearchSettings | TrainingSettings,
    storage: Storage,
    machine: Machine | None,
    *more: Settings,
    default_size: ImageSize | None = None,
    channels: int | None = None,
) -> tuple[Data, Runner]:
    """Return the data and the device of a run, and print every setting, given or default.

    ``default_size`` is the size in pixels of a folder's images where the settings have none;
    ``channels`` is the number of channels that they are read with. Raises
    UserError.
    """
    machine = machine or Machine()

    runner = Runner(pick_device(machine.device), settings.amp, machine.compile)
    if machine.compile:
        check_compiler(runner.device)
    data = load_data(
        settings.dataset,
        storage.data,
        runner.device,
        limit_train=settings.limit_train,
        # a search tests nothing
        limit_test=1 if isinstance(settings, SearchSettings) else settings.limit_test,
        validate=settings.validate,
        batch_size=settings.batch_size,
        image_size=settings.image_size,
        default_size=default_size,
        channels=channels,
        cache_dir=storage.record_dir if storage.cache else None,
        crop=settings.crop,
        flip=settings.flip,
        rotation=settings.rotation,
    )

    # everything that the run depends on
    shown = {
        name: value for part in (settings, storage, *more) for name, value in stored(part).items()
    }
    shown |= {
        "device": runner.device,
        "compile": runner.compile,
        **data.counts,
        **data.shape,
        **vars(augmentation(data, search=isinstance(settings, SearchSettings))),
    }

    print(
        f"{Path(sys.argv[0]).name}:",
        " ".join(f"{name}={value}" for name, value in sorted(shown.items())),
        flush=True,
    )
    return data, runner


def check_memory(params: int, runner: Runner) -> None:
    """Raise UserError if weights, gradients and momentum alone don't fit into the device's
    memory."""
    cuda = runner.device.startswith("cuda")
    memory = gpu_memory(runner.device)[1] if cuda else physical_memory()
    if memory is not None and (needed := 3 * 4 * params) > memory:
        raise UserError(
            f"a network of {params:,} parameters needs {needed / 2**30:,.0f} GiB to train; this "
            f"device has {memory / 2**30:,.0f}. Use a smaller ratio"
        )
