"""The source of a network: a file of classes, the last of which is ``Network``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from model import ImageSize
from utils.export.source.blocks import blocks_of
from utils.export.source.classes import Class, Classes, members_of
from utils.export.source.helpers import HELPERS
from utils.export.source.steps import steps_of

LONGEST = 120  # characters in a line that can be broken


@dataclass(frozen=True)
class Written:
    """A network's source, the state_dict of its ``Network``, and a network with just that
    state_dict."""

    text: str
    state: dict[str, Tensor]
    network: nn.Module


def write_source(
    network: nn.Module,
    title: str,
    shapes: str,
    frozen: Sequence[str] = (),
    held: Sequence[str] = (),
    image_size: ImageSize | None = None,
) -> Written:
    """Return the source of ``network`` for evaluation, which torch.fx can trace or has traced.

    ``title`` says what it is, and ``shapes`` the shapes of its input and output, in a line each.
    ``frozen`` are weights that are not trained, ``held`` layers that stay as in evaluation when it
    trains. Raises NotWritableError.
    """
    steps = steps_of(network, image_size)
    block = blocks_of(steps)
    members = members_of(steps, steps.nodes)
    classes = Classes(steps)
    classes.write(block, members)

    state = state_of(members)
    bare = (
        network if set(network.state_dict()) == set(state) else fx.GraphModule(network, steps.graph)
    )

    more = _shared_weights(members)
    more += [f"        {_get(path)}.requires_grad_(False)" for path in frozen if path in state]
    there = [path for path in held if path in members]
    parts = [*(HELPERS[name] for name in classes.helpers)]
    parts += [_class(found, shapes, more, there) for found in classes.found]
    return Written(_header(parts, title) + "\n\n" + "\n\n".join(parts), state, bare)


def state_of(members: dict[str, nn.Module | tuple[Tensor, bool]]) -> dict[str, Tensor]:
    """Return the tensors of the source's network, by their names."""
    found: dict[str, Tensor] = {}
    for path, member in members.items():
        if isinstance(member, tuple):
            found |= {path: member[0].detach()} if member[1] else {}
        else:
            found |= {f"{path}.{name}": tensor for name, tensor in member.state_dict().items()}
    return {name: tensor.clone() for name, tensor in found.items()}


def _get(path: str) -> str:
    """Return the source that gets a weight."""
    return f'self.get_parameter("{path}")'


def _shared_weights(members: dict[str, nn.Module | tuple[Tensor, bool]]) -> list[str]:
    """Return lines that make shared weights one."""
    first: dict[int, str] = {}
    lines = []
    for path, member in members.items():
        own = (
            [(path, member[0])]
            if isinstance(member, tuple)
            else [
                (f"{path}.{name}", tensor)
                for name, tensor in member.named_parameters(remove_duplicate=False)
            ]
        )
        for name, tensor in own:
            owner, _, last = name.rpartition(".")
            if (other := first.setdefault(id(tensor), name)) != name:
                place = f'self.get_submodule("{owner}")' if owner else "self"
                lines.append(f'        setattr({place}, "{last}", {_get(other)})')
    return lines


def _header(parts: list[str], title: str) -> str:
    """Return the first lines of the file: its title and imports."""
    used = "\n".join(parts)
    imports = ["import math"] * ("math." in used) + ["from collections import OrderedDict"] * (
        "OrderedDict(" in used
    )
    torchs = ["import torch"] * ("torch." in used) + ["import torch.nn.functional as F"] * (
        " F." in used or "(F." in used
    )

    blocks = ["\n".join(imports)] * bool(imports) + [
        "\n".join([*torchs, "from torch import Tensor, nn"])
    ]
    title = title.replace("\\", "/").replace('"', "'")
    return f'"""{title}"""\n' + "\n\n".join(blocks) + "\n"


def _class(found: Class, shapes: str, more: list[str], held: Sequence[str]) -> str:
    """Return the source of a class."""
    is_network = found.name == "Network"
    if is_network:
        about = shapes
    else:
        about = first_of(found.paths)
    typed = ", ".join([f"{name}: Tensor" for name in found.inputs])

    lines = [
        f"class {found.name}({found.base}):",
        f'    """{about}"""',
        "",
        *wrapped(f"def __init__(self{''.join(f', {name}' for name in found.arguments)}):", 4),
        *["        super().__init__()"] * (found.base == "nn.Module"),
        *found.constructor,
        *(more if is_network else []),
        "",
        f"    def forward(self, {typed}) -> Tensor:",
        *(text for line in found.forward for text in wrapped(line, 8)),
    ]
    if is_network and held:
        lines += [
            "",
            "    def train(self, mode: bool = True):",
            '        """Some layers stay as in evaluation."""',
            "        super().train(mode)",
            f"        for name in {_listed(held)}:",
            "            self.get_submodule(name).eval()",
            "        return self",
        ]
    return "\n".join(lines) + "\n"


def first_of(paths: list[str]) -> str:
    """Return the modules of a class, as many as fit a line."""
    shown = [
        path
        for number, path in enumerate(paths)
        if not number or len(", ".join(paths[: number + 1])) < 90
    ]
    return ", ".join(shown) + (", …" if len(shown) < len(paths) else ".")


def wrapped(line: str, indent: int) -> list[str]:
    """Return a line, broken between arguments if it is long."""
    found = [" " * indent]
    for number, piece in enumerate(pieces := line.split(", ")):
        ended = piece + ("," if number < len(pieces) - 1 else "")
        if number and len(found[-1]) + len(ended) > LONGEST and '"' not in line:
            found.append(" " * (indent + 4) + ended)
        else:
            found[-1] += " " * (number > 0) + ended
    return found


def _listed(names: Sequence[str]) -> str:
    """Return names as a list of texts."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
