"""The file formats of an exported network."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from model import ImageSize, image_shape
from model.graph.graph_module import other_paths
from utils.errors import UserError, is_out_of_memory
from utils.export.known import Preprocessing

WEIGHTS, ONNX, PROGRAM, SOURCE, EXAMPLE = (
    "weights.pt",
    "network.onnx",
    "network.pt2",
    "network.py",
    "example.py",
)
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# keys with files and classes of this machine and this project
ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack")
ADAPTIVE_MAX = [
    torch.ops.aten.adaptive_max_pool1d.default,
    torch.ops.aten.adaptive_max_pool2d.default,
    torch.ops.aten.adaptive_max_pool3d.default,
]
# activations that write over their input, and what gives the same without; on inputs that are made
# by COMPUTED, which no other tensor is a view of
IN_PLACE = {
    getattr(torch.ops.aten, f"{name}_").default: getattr(torch.ops.aten, name).default
    for name in ("elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu")
}
COMPUTED = {
    torch.ops.aten.batch_norm.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.add.Tensor,
}


class FromPixels(nn.Module):
    """A network with the preprocessing of images before it: (N, H, W, C), uint8 -> logits."""

    def __init__(self, network: nn.Module, images: Preprocessing):
        super().__init__()
        self.network = network
        self.scale: Tensor
        self.shift: Tensor
        for name, factor in zip(("scale", "shift"), images.factors()):
            self.register_buffer(name, factor[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.permute(0, 3, 1, 2).float() * self.scale - self.shift)


def check_packages() -> None:
    """Raise UserError if a package is missing that exporting needs."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"export needs {', '.join(missing)}, not installed here: python3 -m pip install -r "
            "requirements-export.txt"
        )


@torch.no_grad()
def written(
    network: nn.Module,
    state: dict[str, Tensor],
    source: str | None,
    image_size: ImageSize,
    images: Preprocessing,
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of a network without gates, (N, C, H, W) -> (N,
    classes), for batches of any size.

    ``state`` has its weights; ``source`` its source, if that could be written.
    """
    channels, height, width = image_shape(image_size)
    example = torch.zeros(2, channels, height, width)
    yield WEIGHTS, saved(lambda stream: torch.save(state, stream))
    if source is not None:
        yield SOURCE, source.encode()

    with quiet(), in_a_line(PROGRAM):
        program = exported(network, example)
        content = saved(lambda stream: torch.export.save(program, stream))
    yield PROGRAM, content

    with quiet(), in_a_line(ONNX):
        if images.inside:
            example = torch.zeros(2, height, width, channels, dtype=torch.uint8)
            program = exported(FromPixels(network, images).eval(), example)
        converted = torch.onnx.export(
            with_plain_poolings(without_overwriting(program)),
            (example,),
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: "batch"},),
            input_names=["images"],
            output_names=["logits"],
        )
        assert converted is not None  # as it is without dynamo alone
        content = converted.model_proto.SerializeToString()
    yield ONNX, content


def exported(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Return a network as a program for batches of any size, without its origins."""
    program = torch.export.export(
        network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )
    for node in program.graph.nodes:
        for key in ORIGINS:
            node.meta.pop(key, None)
    return without_reserved_names(program)


def without_reserved_names(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return the program, changed: parts with names that torch.fx or Python reserves, as code or
    class, get other names. With such names it could be stored, but not run."""
    state, signature = program.state_dict, program.graph_signature
    others = other_paths([*state, *filter(None, (spec.target for spec in signature.input_specs))])
    for spec in signature.input_specs:
        spec.target = others.get(spec.target or "", spec.target)
    for name in list(state):
        state[others[name]] = state.pop(name)
    return program


def without_overwriting(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return the program, changed: where nothing else reads its input, an activation is computed
    anew. The ONNX exporter is several times slower at those that write over it."""
    for node in program.graph.nodes:
        if node.target in IN_PLACE:
            (given,) = node.all_input_nodes
            if given.target in COMPUTED and len(given.users) == 1:
                node.target = IN_PLACE[node.target]
    return program


def with_plain_poolings(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return the program without adaptive max poolings whose windows differ in size, for ONNX has
    none.

    Poolings of which more than the maxima is used stay.
    """
    poolings = [node for node in program.graph.nodes if node.target in ADAPTIVE_MAX]

    uneven = [
        node
        for node in poolings
        if any(
            length % cells
            for length, cells in zip(node.args[0].meta["val"].shape[::-1], node.args[1][::-1])
        )
    ]
    # output 0 is the maxima
    if not uneven or any(
        taken.users and taken.args[1] != 0 for node in poolings for taken in node.users
    ):
        return program
    return program.run_decompositions({node.target: maxima for node in uneven})


def maxima(images: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """Return an adaptive max pooling of images (..., H, W) to ``output_size``, with zeros in place
    of the maxima's positions."""
    for dim, cells in enumerate(output_size, -len(output_size)):
        length = images.shape[dim]
        windows = [
            (cell * length // cells, -(-(cell + 1) * length // cells)) for cell in range(cells)
        ]
        images = torch.cat(
            [
                images.narrow(dim, start, end - start).amax(dim, keepdim=True)
                for start, end in windows
            ],
            dim,
        )
    return images, torch.zeros_like(images, dtype=torch.int64)


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """Return the bytes that ``save`` writes."""
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


@contextmanager
def in_a_line(name: str) -> Iterator[None]:
    """Raise UserError for anything that an exporter raises for a network that ``name`` can't
    hold."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        operation = re.search(r"target=torch\.ops\.([\w.]+)", str(error))
        cause: BaseException = error
        while cause.__cause__ is not None:  # behind the exporter's own advice
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:150]}"
        reason = f"there is no counterpart of {operation[1]}" if operation else reason
        raise UserError(
            f"this network can't be exported as {name}: {reason}. Nothing was exported"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence exporters, which raise errors for what fails."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
