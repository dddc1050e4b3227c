"""What each operation of PyTorch does to channels: the one table that reading a network and compacting it are made from.

An operation that is in none of these sets is not known to keep channels apart, and is refused by name.
"""
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

# Channel c of the result follows from channel c alone, and is zero where that is.
ZERO_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Softsign,
    nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.Upsample, nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.RReLU)
# The same, but of a zero they make something else.
OTHER_MODULES = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.LogSigmoid, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.ConstantPad2d,
                 nn.Hardtanh)
# Of these, what works along the pixels, and would mix channels that lie where pixels usually do.
SPATIAL_MODULES = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.Upsample, nn.ConstantPad2d,
    nn.ReflectionPad2d, nn.ReplicationPad2d)
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
LAYERS = (_ConvNd, nn.Linear)
KNOWN_MODULES = (*ZERO_MODULES, *OTHER_MODULES, *NORMS, *LAYERS, nn.Flatten, nn.MultiheadAttention)

SPATIAL_FUNCTIONS = {
    F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.interpolate, torch.max_pool2d}
ZERO_FUNCTIONS = {
    torch.relu, torch.relu_, torch.tanh, torch.abs, torch.square, torch.sqrt, torch.clone, torch.neg, torch.selu, torch.celu,
    F.relu, F.relu_, F.relu6, F.leaky_relu, F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish, F.hardswish, F.tanh, F.softsign,
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, operator.neg, "torchvision.ops.stochastic_depth.stochastic_depth",
    *SPATIAL_FUNCTIONS, "relu", "relu_", "tanh", "abs", "neg", "square", "sqrt", "clone", "contiguous", "float", "to", "type_as", "detach"}
OTHER_FUNCTIONS = {torch.sigmoid, torch.exp, F.sigmoid, F.hardsigmoid, F.softplus, "sigmoid", "sigmoid_", "exp"}
# Channel by channel of two operands; a sum is zero where both are, a product where one is.
SUMS = {operator.add, operator.iadd, operator.sub, operator.isub, torch.add, torch.sub, "add", "add_", "sub", "sub_", "__add__"}
PRODUCTS = {operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_"}
QUOTIENTS = {operator.truediv, operator.itruediv, torch.div, "div", "div_"}
BINARY = SUMS | PRODUCTS | QUOTIENTS | {operator.pow, torch.pow, "pow", torch.maximum, torch.minimum, torch.clamp, "clamp"}
# The result has no channels of a width, or mixes them: the widths of what they take stay as they are.
FIXING = {
    torch.chunk, torch.split, "chunk", "split", torch.matmul, torch.bmm, torch.einsum, "matmul", "bmm", operator.matmul,
    F.scaled_dot_product_attention, torch.softmax, F.softmax, "softmax", "unbind", torch.unbind, "unflatten", "roll", torch.roll,
    "torchvision.models.swin_transformer.shifted_window_attention", "torchvision.models.swin_transformer._patch_merging_pad",
    "torchvision.models.swin_transformer._get_relative_position_bias"}
RESHAPES = {torch.reshape, torch.flatten, "view", "reshape", "flatten"}
REDUCTIONS = {torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"}
JOINS = {torch.cat, torch.concat, torch.concatenate}
ALIASES = {"view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "getitem", "chunk", "split", "unbind", "expand",
           "expand_as", "swapaxes", "contiguous", "to", "float", "type_as", "detach", "getattr", "dropout"}  # perhaps their input's memory


def known(module: nn.Module) -> type[nn.Module] | None:
    """The class by which a module is known: its own, or one that it inherits its forward pass from."""
    forward: Any = type(module).forward
    torchs = (base for base in type(module).__mro__ if base.__module__.startswith("torch.nn."))
    theirs = any(forward is getattr(base, "forward", None) for base in torchs)
    norm_and_activation = isinstance(module, _BatchNorm) and type(module).__module__.startswith("timm.layers")
    return next((kind for kind in KNOWN_MODULES if isinstance(module, kind) and (theirs or norm_and_activation)), None)


def key(target: Any) -> Any:
    """By what a function or method is known: itself, or its name where it is another library's."""
    if isinstance(target, str) or getattr(target, "__module__", None) is None:
        return target
    module = target.__module__
    return target if module.split(".")[0] in ("torch", "_operator", "builtins") else f"{module}.{target.__name__}"


def settle(module: nn.Module) -> None:
    """Makes the numbers that a layer keeps beside its tensors those of its tensors, after these were cut or drawn anew.

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
        module.num_features = len(next((t for t in (module.weight, module.running_mean) if t is not None), range(module.num_features)))
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        per_group = module.num_channels // module.num_groups
        module.num_channels = len(module.weight)
        module.num_groups = module.num_groups if module.num_groups == 1 else module.num_channels // per_group
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
