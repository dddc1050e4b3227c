"""The networks by name, and what can be asked of them. Importing this package does not import
torch."""

from model.filters import largest_filters_within, prepare_filters, uniform_filters
from model.layers import widths_of
from model.names import is_imported
from model.registry import (
    BUDGETS,
    MODELS,
    Shape,
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
    "MODELS",
    "Shape",
    "build_model",
    "compactor",
    "costs_when_pruned",
    "count_macs",
    "count_params",
    "described",
    "expect",
    "is_imported",
    "largest_filters_within",
    "layer_names",
    "layers_of",
    "macs_per_filter",
    "macs_when_pruned",
    "prepare_filters",
    "template",
    "uniform_filters",
    "widths_of",
]
