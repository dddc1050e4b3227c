"""The modules of PyTorch, by what they do to channels; and the sizes that layers keep."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

POOLINGS = (
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
)
# Channel c of the result depends on channel c alone, and is zero where that is zero.
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
    *POOLINGS,
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    nn.ZeroPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.RReLU,
)
# The same, but they make something else from zero.
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
# Those of both that work along the pixels, and would mix channels that lie along these dimensions.
SPATIAL_MODULES = (
    *POOLINGS,
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


def update_sizes(module: Any) -> None:
    """Set the sizes that a layer keeps as attributes to those of its tensors, after these were
    replaced.

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
