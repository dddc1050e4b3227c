"""The functions and methods of PyTorch, by what they do to channels.

Networks are read and compacted by this table and by that of modules, model/graph/layer_kinds.py. An
operation that is in none of these sets is not known to keep channels apart: the widths of all that
it takes stay as they are.
"""

import operator
from typing import Any

import torch
import torch.nn.functional as F

# Layers and norms as functions, with weights of the network.
CONVOLUTIONS = {
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
}
TRANSPOSED = {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
NORM_FUNCTIONS = {
    F.batch_norm,
    torch.batch_norm,
    F.instance_norm,
    torch.instance_norm,
    F.group_norm,
    torch.group_norm,
    F.layer_norm,
    torch.layer_norm,
    F.rms_norm,
    torch.rms_norm,
}
LAYER_FUNCTIONS = {F.linear, *CONVOLUTIONS, *NORM_FUNCTIONS, F.prelu, torch.prelu}

SPATIAL_FUNCTIONS = {
    F.max_pool1d,
    F.max_pool2d,
    F.max_pool3d,
    F.avg_pool1d,
    F.avg_pool2d,
    F.avg_pool3d,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
    F.adaptive_max_pool1d,
    F.adaptive_max_pool2d,
    F.interpolate,
    torch.max_pool2d,
}
ZERO_FUNCTIONS = {
    torch.relu,
    torch.relu_,
    torch.tanh,
    torch.abs,
    torch.square,
    torch.sqrt,
    torch.clone,
    torch.neg,
    torch.selu,
    torch.celu,
    F.relu,
    F.relu_,
    F.relu6,
    F.leaky_relu,
    F.elu,
    F.celu,
    F.selu,
    F.gelu,
    F.silu,
    F.mish,
    F.hardswish,
    F.tanh,
    F.softsign,
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    operator.neg,
    "torchvision.ops.stochastic_depth.stochastic_depth",
    *SPATIAL_FUNCTIONS,
    "relu",
    "relu_",
    "tanh",
    "abs",
    "neg",
    "square",
    "sqrt",
    "clone",
    "contiguous",
    "float",
    "to",
    "type_as",
    "detach",
}
OTHER_FUNCTIONS = {
    torch.sigmoid,
    torch.exp,
    F.sigmoid,
    F.hardsigmoid,
    F.softplus,
    "sigmoid",
    "sigmoid_",
    "exp",
}
# Channel by channel of two operands; a sum is zero where both are, a product where one is.
SUMS = {
    operator.add,
    operator.iadd,
    operator.sub,
    operator.isub,
    torch.add,
    torch.sub,
    torch.subtract,
    "add",
    "add_",
    "sub",
    "sub_",
    "__add__",
}
PRODUCTS = {operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply"}
QUOTIENTS = {
    operator.truediv,
    operator.itruediv,
    torch.div,
    torch.divide,
    torch.true_divide,
    "div",
    "div_",
    "divide",
    "true_divide",
}
COMPARISONS = {
    operator.gt,
    operator.ge,
    operator.lt,
    operator.le,
    operator.eq,
    operator.ne,
    torch.gt,
    torch.ge,
    torch.lt,
    torch.le,
    torch.eq,
    torch.ne,
    "gt",
    "ge",
    "lt",
    "le",
    "eq",
    "ne",
}
ELEMENTWISE = (
    SUMS
    | PRODUCTS
    | QUOTIENTS
    | COMPARISONS
    | {
        operator.pow,
        operator.floordiv,
        operator.mod,
        torch.pow,
        torch.maximum,
        torch.minimum,
        torch.clamp,
        torch.where,
        torch.lerp,
        torch.addcmul,
        torch.addcdiv,
        torch.masked_fill,
        torch.atan2,
        torch.remainder,
        torch.hypot,
        "pow",
        "maximum",
        "minimum",
        "clamp",
        "clamp_",
        "where",
        "lerp",
        "addcmul",
        "addcdiv",
        "masked_fill",
    }
)
RESHAPES = {torch.reshape, torch.flatten, "view", "reshape", "flatten", "view_as", "reshape_as"}
# Along dimensions: first those that make zero from zeros. A norm takes its dimensions second.
NORMS_ALONG = {torch.norm, torch.linalg.norm, torch.linalg.vector_norm, "norm"}
ZERO_REDUCTIONS = {
    torch.mean,
    torch.sum,
    torch.amax,
    torch.amin,
    torch.max,
    torch.min,
    torch.std,
    torch.var,
    torch.prod,
    *NORMS_ALONG,
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "std",
    "var",
    "prod",
}
REDUCTIONS = ZERO_REDUCTIONS | {torch.logsumexp, "logsumexp"}
SOFTMAX = {
    torch.softmax,
    torch.log_softmax,
    F.softmax,
    F.log_softmax,
    F.softmin,
    "softmax",
    "log_softmax",
}
JOINS = {torch.cat, torch.concat, torch.concatenate}
PARTS = {
    torch.chunk,
    torch.split,
    torch.unbind,
    torch.tensor_split,
    "chunk",
    "split",
    "unbind",
    "tensor_split",
}
# they use none of the numbers in their input
NO_NUMBERS = {"new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"}
SAME = {"to", "float", "type_as", "contiguous"}  # a weight is itself after these


def key(target: Any) -> Any:
    """Return a function or method as these sets have it: itself, or its name for other
    libraries'."""
    if isinstance(target, str) or getattr(target, "__module__", None) is None:
        return target
    module = target.__module__
    return (
        target
        if module.split(".")[0] in ("torch", "_operator", "builtins")
        else f"{module}.{target.__name__}"
    )
