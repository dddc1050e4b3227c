"""The arguments of functions that a network calls: names, defaults, and flags for training."""

from __future__ import annotations

import ast
import inspect
from typing import Any

from torch import fx

from model.graph.operations import key
from utils.export.source.helpers import HELPERS
from utils.export.source.literals import Source

TRAINING = Source("self.training")


def with_flag(
    call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a TrainingFlagCall, with ``self.training`` in the place of its
    flag."""
    if isinstance(call.place, str):
        return args, {**kwargs, call.place: TRAINING}
    return (*args[: call.place], TRAINING, *args[call.place + 1 :]), kwargs


def argument_names(function: Any) -> list[str]:
    """Return the names of a function's arguments; [] if it has no signature."""
    if (name := key(function)) in HELPERS:
        definition = ast.parse(HELPERS[name]).body[0]
        return (
            [argument.arg for argument in definition.args.args]
            if isinstance(definition, ast.FunctionDef)
            else []
        )
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def without_defaults(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function that differ from their defaults."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return kwargs
    return {
        name: value
        for name, value in kwargs.items()
        if name not in parameters
        or type(value) is not type(parameters[name].default)
        or value != parameters[name].default
    }


def function_or_none(node: fx.Node) -> str | None:
    """Return the name of a function that a node calls; None for other nodes."""
    return str(getattr(node.target, "__name__", "")) if node.op == "call_function" else None
