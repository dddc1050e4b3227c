"""The networks by name, and what can be asked of them. Importing this package does not import torch."""
from model.filters import prepare_filters, uniform_filters
from model.registry import (
    BUDGETS,
    MODELS,
    Shape,
    build_model,
    count_macs,
    count_params,
    count_pruned_macs,
    described,
    expect,
    is_imported,
    layers_of,
    macs_per_filter,
    template,
)

__all__ = ["BUDGETS", "MODELS", "Shape", "build_model", "count_macs", "count_params", "count_pruned_macs", "described", "expect",
           "is_imported", "layers_of", "macs_per_filter", "prepare_filters", "template", "uniform_filters"]
