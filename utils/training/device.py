"""The device that networks run on: its choice, memory, number format and random generators."""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from model.pointwise import has_strided_pointwise
from utils.errors import UserError, is_out_of_memory


@dataclass
class Runner:
    """The way to run networks: on which device, with bfloat16 autocast or not, compiled or not."""

    device: str = "cpu"
    amp: bool = False
    compile: bool = False

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return (
            torch.autocast(self.device.split(":")[0], torch.bfloat16) if self.amp else nullcontext()
        )

    def layout(self, network: nn.Module) -> torch.memory_format:
        """Return the layout of a network's weights and images in training: channels_last (5 to 20 %
        faster) where that is right."""
        wrong = self.device == "cpu" and has_strided_pointwise(network)
        return torch.contiguous_format if wrong else torch.channels_last

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in its layout."""
        return network.to(self.device, memory_format=self.layout(network))  # type: ignore[call-overload]

    def compiled(self, network: nn.Module) -> nn.Module:
        """Return the module to call for a forward pass, compiled if asked for."""
        # torch makes a module of a module
        return torch.compile(network) if self.compile else network  # type: ignore[return-value]


def pick_device(name: str) -> str:
    """Return the device of this name; ``auto`` is CUDA where there is one.

    Raises UserError for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"

    # try it, with a tensor
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise NotImplementedError
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"--device {name}: not available on this machine; --device cpu is"
        ) from None

    if name.startswith("cuda"):
        torch.backends.cudnn.benchmark = True
    else:
        keep_freed_memory()
    return name


def keep_freed_memory() -> None:
    """Ask the C library to keep the memory that a training step frees, for the next step.

    glibc returns large blocks to the system at once, which clears every page of them at the next
    step: that costs a tenth of a step of a large network and up to half of one of a small network.
    """
    if libc := _glibc():
        m_mmap_max, m_trim_threshold = -4, -1  # from malloc.h
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Return the memory that is kept to the system, once.

    After a network has shrunk, its tensors fit badly between those that were freed.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def check_compiler(device: str) -> None:
    """Raise UserError if torch.compile does not work: a CPU needs a C++ compiler, CUDA needs
    Triton."""
    try:
        torch.compile(torch.neg)(torch.zeros(8, device=device))
    except Exception as error:  # torch raises many kinds, with the compiler's whole output
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            f"--compile: torch.compile does not work on this machine ({type(error).__name__}: "
            f"{reason[0][:150]}); install a C++ compiler, or leave --compile out"
        ) from None


def generator(*numbers: int) -> torch.Generator:
    """Return a generator seeded by (seed, iteration, epoch, ...) alone, so that resuming needs no
    hidden state."""
    return torch.Generator().manual_seed(seed_from(*numbers))


def seed_from(*numbers: int) -> int:
    """Return one seed made from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
