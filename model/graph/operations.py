"""What each operation of PyTorch does to channels: the one table that reading a network and
compacting it are made from.

An operation that is in none of these sets is not known to keep channels apart: the widths of what
it takes stay as they are.
"""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

# Channel c of the result follows from channel c alone, and is zero where that is.
ZERO_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Tanh,
    nn.Softsign,
    nn.Softshrink,
    nn.Hardshrink,
    nn.Tanhshrink,
    nn.PReLU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    nn.ZeroPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.RReLU,
)
# The same, but of a zero they make something else.
OTHER_MODULES = (
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.Softplus,
    nn.LogSigmoid,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.ConstantPad2d,
    nn.Hardtanh,
)
# Of these, what works along the pixels, and would mix channels that lie where pixels usually do.
SPATIAL_MODULES = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Upsample,
    nn.ConstantPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
)
SOFTMAX_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Softmin)
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
LAYERS = (_ConvNd, nn.Linear)
MIXING_MODULES = (
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)
KNOWN_MODULES = (
    *ZERO_MODULES,
    *OTHER_MODULES,
    *SOFTMAX_MODULES,
    *NORMS,
    *LAYERS,
    *MIXING_MODULES,
    nn.Flatten,
)

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
# Along dimensions: what zeros make is zero, or something else. Of a norm the dimensions come
# second.
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
# they take none of the numbers in their input
NO_NUMBERS = {"new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"}
SAME = {"to", "float", "type_as", "contiguous"}  # a weight is itself after these
# What may share its input's memory, in lower case and without a number of dimensions, as modules
# are called too.
ALIASES = {
    "view",
    "view_as",
    "reshape",
    "reshape_as",
    "flatten",
    "ravel",
    "unflatten",
    "permute",
    "transpose",
    "swapaxes",
    "swapdims",
    "movedim",
    "moveaxis",
    "t",
    "adjoint",
    "squeeze",
    "unsqueeze",
    "getitem",
    "select",
    "narrow",
    "diagonal",
    "unfold",
    "as_strided",
    "chunk",
    "split",
    "split_with_sizes",
    "tensor_split",
    "hsplit",
    "vsplit",
    "dsplit",
    "unbind",
    "expand",
    "expand_as",
    "broadcast_to",
    "broadcast_tensors",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "meshgrid",
    "contiguous",
    "to",
    "float",
    "double",
    "half",
    "type",
    "type_as",
    "cpu",
    "cuda",
    "pos",
    "positive",
    "real",
    "imag",
    "view_as_real",
    "view_as_complex",
    "conj",
    "resolve_conj",
    "resolve_neg",
    "detach",
    "data",
    "getattr",
    "alias",
    "identity",
    "dropout",
    "alpha_dropout",
    "alphadropout",
    "feature_dropout",
    "feature_alpha_dropout",
    "featurealphadropout",
    "stochastic_depth",
    "checkpoint",
}


def key(target: Any) -> Any:
    """By what a function or method is known: itself, or its name where it is another library's."""
    if isinstance(target, str) or getattr(target, "__module__", None) is None:
        return target
    module = target.__module__
    return (
        target
        if module.split(".")[0] in ("torch", "_operator", "builtins")
        else f"{module}.{target.__name__}"
    )


def settle(module: Any) -> None:
    """Makes the numbers that a layer keeps beside its tensors those of its tensors, after these
    were cut or drawn anew.

    A grouped convolution keeps its filters per group, a group norm its channels per group.
    """
    if isinstance(module, _ConvTransposeNd):
        module.in_channels, module.out_channels = module.weight.shape[:2]
    elif isinstance(module, _ConvNd):
        per_group = module.out_channels // module.groups
        module.out_channels = len(module.weight)
        module.groups = module.groups if module.groups == 1 else module.out_channels // per_group
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, (_BatchNorm, _InstanceNorm)):
        module.num_features = len(
            next(
                (t for t in (module.weight, module.running_mean) if t is not None),
                range(module.num_features),
            )
        )
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        per_group = module.num_channels // module.num_groups
        module.num_channels = len(module.weight)
        module.num_groups = (
            module.num_groups if module.num_groups == 1 else module.num_channels // per_group
        )
    elif isinstance(weight := getattr(module, "weight", None), Tensor) and isinstance(
        getattr(module, "normalized_shape", None), tuple
    ):
        module.normalized_shape = tuple(weight.shape)  # layer norms, whoever wrote them
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
