"""CUDA without a GPU: tensors that say they are on ``cuda:N`` and are computed on the CPU, by the
rules of CUDA.

Inside of ``with Device() as device`` the name "cuda" works wherever PyTorch takes a device. An
operation on tensors of two devices raises where it would on CUDA, what makes the host wait for the
device is noted in ``device.waits``, and copies to the device are counted in ``device.copies``. The
numbers are the CPU's, to the last bit. With ``Device(1)`` it is the second GPU of a machine,
"cuda:1" alone, and the first has no memory and another name.

To PyTorch's own C++ the tensors are on the device "meta": autograd runs there without a driver.
"""

from __future__ import annotations

import sys
from unittest import mock

import torch
from running import REPOSITORY
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

PROGRAM = (str(REPOSITORY / "model"), str(REPOSITORY / "utils"))

aten = torch.ops.aten
INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# and what is pointwise
TAKES_CPU_SCALAR = {
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.fill.Tensor,
    aten.fill_.Tensor,
}


class OnDevice(Tensor):
    """A tensor on the device; ``held`` is where its numbers are."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: torch.device("cuda", self.owner.number))
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    @staticmethod
    def __new__(cls, held: Tensor, device: Device):
        return Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device="meta"
        )

    def __init__(self, held: Tensor, device: Device):
        self.held, self.owner = held, device

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} of a tensor whose device is gone")

    def __repr__(self, **_):
        return f"OnDevice({self.held!r})"

    def __reduce_ex__(self, protocol):
        self.owner.wait("torch.save")
        return self.held.__reduce_ex__(protocol)

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, **_):
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )


class Device:
    """The device, while it is entered: see above. ``waits`` says for each what it was for, and from
    which line."""

    def __init__(self, number: int = 0, memory: int = 2**40):
        self.number, self.memory = number, memory
        self.waits: list[str] = []
        self.copies = 0

    def __enter__(self) -> Device:
        self.benchmark = torch.backends.cudnn.benchmark
        self.entered = [
            _Names(self),
            _Operations(self),
            mock.patch(
                "torch.cuda.mem_get_info",
                lambda device=None: (self.memory,) * 2 if self.is_meant(device) else (0, 0),
            ),
            mock.patch(
                "torch.cuda.get_device_name",
                lambda device=None: "computed on the CPU" if self.is_meant(device) else "another",
            ),
            mock.patch(
                "torch.cuda.synchronize",
                lambda device=None: self.wait("synchronize") if self.is_meant(device) else None,
            ),
        ]
        for context in self.entered:
            context.__enter__()
        return self

    def __exit__(self, *error) -> None:
        for context in reversed(self.entered):
            context.__exit__(*error)
        torch.backends.cudnn.benchmark = self.benchmark

    def __deepcopy__(self, memo: dict) -> Device:
        """The device itself: a copy of a tensor is on the same one."""
        return self

    def is_meant(self, device: str | int | None) -> bool:
        """Return True if a name, or a number, is this device's; without either the first is meant."""
        return (torch.device(device).index if isinstance(device, str) else device) in (
            self.number,
            *[None] * (self.number == 0),
        )

    def wait(self, why: str) -> None:
        """ChannelMap that the host waits for the device."""
        frame = sys._getframe()
        while frame and not frame.f_code.co_filename.startswith(PROGRAM):
            frame = frame.f_back
        self.waits.append(f"{why} at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else why)

    def copied(self, non_blocking: bool) -> None:
        """Counts a copy to the device, which waits for what the device does unless told not to."""
        self.copies += 1
        if not non_blocking:
            self.wait("copy to the device")

    def run(self, func, args: tuple, kwargs: dict):
        """One operation, on the CPU."""
        flat, spec = tree_flatten((args, kwargs))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        if any(not isinstance(x, OnDevice) and x.is_meta for x in tensors):
            raise NotImplementedError(f"{func}: a tensor was made past the test device")
        from_device = any(isinstance(x, OnDevice) for x in tensors)
        target = kwargs.get("device")
        to_device = from_device if target is None else target.type == "meta"
        if kwargs.get("generator") is not None and to_device:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if from_device or to_device:
            self._account(func, args, kwargs, tensors, from_device, to_device)
        inner_args, inner_kwargs = tree_unflatten(
            [x.held if isinstance(x, OnDevice) else x for x in flat], spec
        )
        if target is not None and to_device:
            inner_kwargs["device"] = torch.device("cpu")
        result = func(*inner_args, **inner_kwargs)
        if torch.Tag.inplace_view in func.tags and from_device:  # another shape: the wrapper's too
            with no_dispatch():
                func(*args, **kwargs)
        if not to_device:
            return result
        wrappers = {id(x.held): x for x in tensors if isinstance(x, OnDevice)}
        return tree_map(
            lambda x: self._wrapped(x, wrappers) if isinstance(x, Tensor) else x, result
        )

    def _wrapped(self, held: Tensor, wrappers: dict[int, OnDevice]) -> OnDevice:
        wrapper = wrappers.get(id(held))  # of what was changed in place
        if wrapper is None:
            return OnDevice(held, self)
        if (wrapper.shape, wrapper.stride(), wrapper.dtype) != (
            held.shape,
            held.stride(),
            held.dtype,
        ):
            raise NotImplementedError(
                "an operation changed the shape of a tensor past the test device"
            )
        return wrapper

    def _account(
        self,
        func,
        args: tuple,
        kwargs: dict,
        tensors: list[Tensor],
        from_device: bool,
        to_device: bool,
    ) -> None:
        """Counts what an operation copies and waits for. Raises RuntimeError where it mixes
        devices."""
        if func in (aten._to_copy.default, aten.copy_.default):
            target, source = (
                (to_device, from_device)
                if func is aten._to_copy.default
                else (isinstance(t, OnDevice) for t in args[:2])
            )
            if target and not source:
                self.copied(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))
            elif source and not target:
                self.wait("copy from the device")
            return
        if torch.Tag.data_dependent_output in func.tags or (
            torch.Tag.dynamic_output_shape in func.tags and func not in INDEXING
        ):
            self.wait(str(func))
        elsewhere = [x for x in tensors if not isinstance(x, OnDevice)]
        if not from_device:
            return
        if func in INDEXING:
            elsewhere = self._account_indexing(func, args, elsewhere)
        changed = [
            x
            for argument, x in zip(func._schema.arguments, args)
            if argument.alias_info and argument.alias_info.is_write
        ]
        scalars = torch.Tag.pointwise in func.tags or func in TAKES_CPU_SCALAR or func in INDEXING
        for x in elsewhere:
            if x.dim() or not scalars or any(x is y for y in changed):
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two, "
                    f"cuda:0 and cpu! ({func})"
                )
            if func is aten.where.self:
                self.copied(non_blocking=False)

    def _account_indexing(self, func, args: tuple, elsewhere: list[Tensor]) -> list[Tensor]:
        """Indices may lie on the CPU: they are copied. A mask waits, for the number of what it
        selects."""
        source, indices, *values = args
        if not isinstance(source, OnDevice):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        filled = (
            func is not aten.index.Tensor
            and values[0].numel() == 1
            and not isinstance(values[0], OnDevice)
        )
        for index in indices:
            if isinstance(index, Tensor) and not isinstance(index, OnDevice):
                self.copied(non_blocking=False)
            if (
                isinstance(index, Tensor)
                and index.dtype in (torch.bool, torch.uint8)
                and not filled
            ):
                self.wait(str(func))
        return [x for x in elsewhere if not any(x is index for index in indices)]


class _Operations(TorchDispatchMode):
    """Hands each operation, below autograd, to the device."""

    def __init__(self, device: Device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.device.run(func, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Before PyTorch looks for a driver: "cuda" is "meta" to it."""

    def __init__(self, device: Device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        # on "meta" it would not look at the numbers
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(self.meta(device))
        if (
            func is Tensor.__setitem__
            and isinstance(args[0], OnDevice)
            and isinstance(args[2], (bool, int, float))
        ):
            # what PyTorch itself does on CUDA: it fills, without a wait
            args = (*args[:2], torch.tensor(args[2], dtype=args[0].dtype))
        return func(
            *map(self.meta, args), **{key: self.meta(value) for key, value in kwargs.items()}
        )

    def meta(self, value):
        named = isinstance(value, torch.device) or (
            isinstance(value, str) and value.startswith("cuda")
        )
        if not (named and (device := torch.device(value)).type == "cuda"):
            return value
        if not self.device.is_meant(device.index):
            raise RuntimeError(
                f"CUDA error: {value} is another device than this one, cuda:{self.device.number}"
            )
        return torch.device("meta")
