"""Names in the source: of values, classes, and places in the network."""

import keyword
import re

from utils.export.source.helpers import HELPERS
from utils.export.source.literals import BUILTINS, is_name

RESERVED = {
    "self",
    "nn",
    "F",
    "torch",
    "math",
    "Tensor",
    "OrderedDict",
    "inputs",
    "getattr",
    *BUILTINS.values(),
    *(name.rpartition(".")[2] for name in HELPERS),
}
CALLED = {
    "add": "total",
    "iadd": "total",
    "sub": "difference",
    "isub": "difference",
    "mul": "product",
    "imul": "product",
    "truediv": "quotient",
    "itruediv": "quotient",
    "cat": "joined",
    "concat": "joined",
    "concatenate": "joined",
    "flatten": "flat",
    "getitem": "part",
    "getattr": "value",
    "stack": "stacked",
    "stochastic_depth": "kept",
    "shifted_window_attention": "attention",
    "patch_merging_pad": "merged",
    "get_relative_position_bias": "position_bias",
    "abs": "absolute",
    "sum": "summed",
    "max": "largest",
    "min": "smallest",
    "pow": "power",
    "round": "rounded",
}  # the names of functions' results


def identifier(text: str) -> str:
    """Return a name made from any text: layer1.0.conv1 becomes layer1_0_conv1."""
    name = re.sub(r"\W+", "_", text).strip("_") or "value"
    name = f"layer_{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name


def value_name(path: str, kind: str) -> str:
    """Return a name for a layer's result: conv1 for block.conv1, branch_0 for block.branch.0."""
    parts = path.split(".")
    named = max((at for at, part in enumerate(parts) if not part.isdigit()), default=None)
    return (
        identifier("_".join(parts[named:]))
        if named is not None
        else identifier(f"{kind.lower()}_{'_'.join(parts)}")
    )


def result_name(function: str) -> str:
    """Return a name for a function's result."""
    bare = function.strip("_")
    return identifier(CALLED.get(bare, re.sub(r"(?<=\w)\d[dD]$", "", bare)))


def class_name(kind: str, path: str) -> str:
    """Return a name for a class: that in the network, or its place if it is a mere container
    there."""
    if is_name(kind) and kind not in (
        "Sequential",
        "ModuleList",
        "ModuleDict",
        "Module",
        "GraphModule",
        "Block",
    ):
        return kind
    words = [word for word in re.split(r"[^0-9A-Za-z]+", path) if not word.isdigit()]
    return identifier(words[-1][:1].upper() + words[-1][1:] if words and words[-1] else "Part")


def at(place: str, name: str, in_list: bool = False) -> str:
    """Return the source that gets the child ``name`` of the object that ``place`` gets."""
    if in_list:
        return f"{place}[{name}]"
    return f"{place}.{name}" if is_name(name) else f'getattr({place}, "{name}")'


def unique(name: str, taken: set[str]) -> str:
    """Return ``name``, with a number if it is taken, and add it to ``taken``."""
    found, number = name, 2
    while found in taken:
        apart = "_" if name[:1].islower() or name[-1].isdigit() else ""  # relu_2, and Block2
        found, number = f"{name}{apart}{number}", number + 1
    taken.add(found)
    return found
