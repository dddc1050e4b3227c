"""The networks by name, with their costs and widths. Importing this package doesn't import
torch."""

from model.filters import largest_filters_within, prepare_filters, uniform_filters
from model.images import (
    COLOURS,
    ImageSize,
    Pixels,
    Shape,
    image_shape,
    pixels_in,
    pixels_of,
    shape_for,
)
from model.layers import widths_of
from model.names import is_imported
from model.registry import (
    BUDGETS,
    MODELS,
    build_model,
    compactor,
    costs_when_pruned,
    count_macs,
    count_params,
    described,
    expect,
    layer_names,
    layers_of,
    macs_per_filter,
    macs_when_pruned,
    template,
)

__all__ = [
    "BUDGETS",
    "COLOURS",
    "MODELS",
    "ImageSize",
    "Pixels",
    "Shape",
    "build_model",
    "compactor",
    "costs_when_pruned",
    "count_macs",
    "count_params",
    "described",
    "expect",
    "image_shape",
    "is_imported",
    "largest_filters_within",
    "layer_names",
    "layers_of",
    "macs_per_filter",
    "macs_when_pruned",
    "pixels_in",
    "pixels_of",
    "prepare_filters",
    "shape_for",
    "template",
    "uniform_filters",
    "widths_of",
]
