"""The files of an exported network: how each is made, and how each is read again, by what others have too."""
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from utils.errors import UserError, is_out_of_memory

WEIGHTS, ONNX, PROGRAM = "weights.pt", "network.onnx", "network.pt2"
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
BATCHES = (1, 100)  # sizes at which what was written is compared with the network
ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack")  # files and classes that this machine and this project have alone
TOLERANCE = 1e-5  # relative to the largest output

ADAPTIVE_MAX = [torch.ops.aten.adaptive_max_pool1d.default, torch.ops.aten.adaptive_max_pool2d.default,
                torch.ops.aten.adaptive_max_pool3d.default]

Forward: TypeAlias = Callable[[Tensor], Tensor]


def check_packages() -> None:
    """Raises UserError where a package is missing that exporting needs."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"export needs {', '.join(missing)}, not installed here: python3 -m pip install -r requirements-export.txt")


@torch.no_grad()
def written(network: nn.Module, image_size: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a network without gates, (N, 3, S, S) -> (N, classes): batches of any size."""
    images = torch.zeros(2, 3, image_size, image_size)
    yield WEIGHTS, saved(lambda stream: torch.save(network.state_dict(), stream))

    with quiet(), in_a_line(PROGRAM):
        program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
        for node in program.graph.nodes:
            for key in ORIGINS:
                node.meta.pop(key, None)
        content = saved(lambda stream: torch.export.save(program, stream))
    yield PROGRAM, content

    with quiet(), in_a_line(ONNX):
        exported = torch.onnx.export(with_plain_poolings(program), (images,), dynamo=True, verbose=False, dynamic_shapes=({0: "batch"},),
                                     input_names=["images"], output_names=["logits"])
        assert exported is not None  # as it is without dynamo alone
        content = exported.model_proto.SerializeToString()
    yield ONNX, content


def with_plain_poolings(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program without adaptive max poolings whose windows differ in size: ONNX has none. Those of which more than the maxima
    is taken stay."""
    poolings = [node for node in program.graph.nodes if node.target in ADAPTIVE_MAX]
    uneven = [node for node in poolings if any(length % cells for length, cells in zip(
        node.args[0].meta["val"].shape[::-1], node.args[1][::-1]))]
    if not uneven or any(taken.users and taken.args[1] != 0 for node in poolings for taken in node.users):  # 0: the maxima
        return program
    return program.run_decompositions({node.target: maxima for node in uneven})


def maxima(images: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """An adaptive max pooling of images (..., H, W) to ``output_size``; instead of the places of the maxima there are zeros."""
    for dim, cells in enumerate(output_size, -len(output_size)):
        length = images.shape[dim]
        windows = [(cell * length // cells, -(-(cell + 1) * length // cells)) for cell in range(cells)]
        images = torch.cat([images.narrow(dim, start, end - start).amax(dim, keepdim=True) for start, end in windows], dim)
    return images, torch.zeros_like(images, dtype=torch.int64)


def read_again(folder: Path) -> dict[str, Forward]:
    """The network as each file gives it."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])
    program, weighted = (torch.export.load(folder / PROGRAM).module() for _ in range(2))
    weighted.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return {ONNX: lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), PROGRAM: program, WEIGHTS: weighted}


@torch.no_grad()
def differences(network: nn.Module, folder: Path, image_size: int) -> dict[str, float]:
    """How far each file's outputs are from the network's on random images, at most, relative to the largest.

    Raises UserError where that is more than rounding.
    """
    found: dict[str, float] = {}
    with quiet():
        files = read_again(folder)
        for size in BATCHES:
            images = torch.randn(size, 3, image_size, image_size, generator=torch.Generator().manual_seed(size))
            expected = network(images)
            for name, forward in files.items():
                difference = float((forward(images) - expected).abs().max() / expected.abs().max())
                if not difference <= TOLERANCE:  # so that NaN is one too
                    raise UserError(f"{name} gives other outputs than the network: they differ by {difference:.1e} of the largest, at most "
                                    f"{TOLERANCE:.0e} is rounding; are the weights finite? Nothing was exported")
                found[name] = max(difference, found.get(name, 0.0))
    return found


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


@contextmanager
def in_a_line(name: str) -> Iterator[None]:
    """What an exporter raises for a network that the file ``name`` can't hold, which is many kinds, as a UserError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        operation = re.search(r"target=torch\.ops\.([\w.]+)", str(error))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        reason = f"there is no counterpart of {operation[1]}" if operation else reason
        raise UserError(f"this network can't be exported as {name}: {reason}. Nothing was exported") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say on the way: of what fails they raise errors."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
