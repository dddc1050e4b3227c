"""The networks by name, with their costs and widths. Importing this package doesn't import
torch."""

from model.filters import prepare_filters, uniform_filters
from model.layers import widths_of
from model.names import is_imported
from model.registry import (
    BUDGETS,
    MODELS,
    Shape,
    build_model,
    compactor,
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
    "MODELS",
    "Shape",
    "build_model",
    "compactor",
    "count_macs",
    "count_params",
    "described",
    "expect",
    "is_imported",
    "layer_names",
    "layers_of",
    "macs_per_filter",
    "macs_when_pruned",
    "prepare_filters",
    "template",
    "uniform_filters",
    "widths_of",
]
