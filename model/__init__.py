"""The networks by name, and what can be asked of them. Importing this package does not import torch."""
from model.filters import prepare_filters, uniform_filters
from model.registry import MODELS, build_model, count_macs, count_params, template

__all__ = ["MODELS", "build_model", "count_macs", "count_params", "prepare_filters", "template", "uniform_filters"]
