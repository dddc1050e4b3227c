"""The forward pass of a block: a line for each operation, with names taken from the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx
from torch.fx.node import map_aggregate

from model.graph.operations import key
from model.graph.trace import TrainingFlagCall
from utils.export.source.blocks import Block, relative
from utils.export.source.helpers import HELPERS
from utils.export.source.literals import (
    INFIX,
    PREFIX,
    NotWritableError,
    Source,
    called,
    function_name,
    is_name,
    literal,
    subscript,
)
from utils.export.source.members import Hole
from utils.export.source.naming import at, identifier, result_name, unique, value_name
from utils.export.source.signatures import (
    argument_names,
    function_or_none,
    with_flag,
    without_defaults,
)
from utils.export.source.steps import Steps

MARK = "\0"
SIZES = ("size", "dim", "numel")  # methods that give numbers, not tensors


class Forward:
    """The forward pass of a block.

    ``inputs`` are its arguments. ``lines`` are its source, with MARK and a number in the place of
    each of the ``holes``: numbers in which blocks that are alike may differ. ``helpers`` are the
    names of functions of HELPERS that it needs.
    """

    def __init__(self, steps: Steps, block: Block, get: Callable[[str], str]):
        self.steps, self.block, self.get = steps, block, get
        self.helpers: list[str] = []
        self.holes: list[Hole] = []
        self.names: dict[fx.Node, str] = {}
        self.starred = self._takes_a_list()
        self.inputs = ["*inputs"] if self.starred else self._name_inputs()
        self.lines = self._written()

    def _name_inputs(self) -> list[str]:
        """Name the inputs, and return the names."""
        names = (
            ["images"]
            if not self.block.path
            else ["x", "y", "z"]
            if len(self.block.inputs) <= 3
            else [f"x{number + 1}" for number in range(len(self.block.inputs))]
        )
        self.names |= zip(self.block.inputs, names)
        return names[: len(self.block.inputs)]

    def _takes_a_list(self) -> list[fx.Node]:
        """Return the inputs if there are many and they are only joined; [] otherwise."""
        first = self.block.items[0]
        users = {
            user
            for source in self.block.inputs
            for user in source.users
            if user in self.block.items
        }
        if isinstance(first, Block) or users != {first} or not first.args:
            return []

        goes_elsewhere = any(
            source in item.inputs for item in self.block.blocks for source in self.block.inputs
        )
        joined = first.args[0]
        return (
            []
            if goes_elsewhere
            or not isinstance(joined, (list, tuple))
            or list(joined) != self.block.inputs
            else self.block.inputs
        )

    # --- lines ------------------------------------------------------------------------------------

    def _written(self) -> list[str]:
        """Return the lines."""
        items = [
            item
            for item in self.block.items
            if isinstance(item, Block) or not self._goes_inline(item)
        ]
        last_use = {
            source: number for number, item in enumerate(items) for source in self._sources(item)
        }
        taken = set(self.names.values())
        lines: list[str] = []

        # a name is free again after its last use
        for number, item in enumerate(items):
            text = self._text(item)
            result = item.output if isinstance(item, Block) else item
            if result is self.block.output and number == len(items) - 1:
                return [*lines, f"return {text}"]
            name = self._name(item)
            ended = [
                source
                for source in self.names
                if last_use.get(source, number) <= number and source is not self.block.output
            ]
            taken -= {self.names.pop(source) for source in ended}
            self.names[result] = unique(name, taken)
            lines.append(f"{self.names[result]} = {text}")
        return [*lines, f"return {self._of(self.block.output)}"]

    def _sources(self, item: fx.Node | Block) -> list[fx.Node]:
        """Return the results that an item's line names."""
        found: list[fx.Node] = []
        for source in item.inputs if isinstance(item, Block) else item.all_input_nodes:
            found += (
                self._sources(source)
                if source in self.block.items and self._goes_inline(source)
                else [source]
            )
        return found

    def _goes_inline(self, node: fx.Node) -> bool:
        """Return True for a size that is used once, in this block; it is written where it is
        used."""
        asks = (node.op == "call_method" and node.target in SIZES) or (
            node.op == "call_function" and node.target is getattr
        )
        if not asks and node.op == "call_function" and function_or_none(node) == "getitem":
            source = node.args[0]
            asks = (
                isinstance(source, fx.Node)
                and source in self.block.items
                and self._goes_inline(source)
            )
        return asks and len(node.users) == 1 and next(iter(node.users)) in self.block.items

    def _name(self, item: fx.Node | Block) -> str:
        """Return a name for the result of an item."""
        if isinstance(item, Block):
            return value_name(relative(item.path, self.block.path), "block")
        if layer := self.steps.layer(item):
            return value_name(relative(str(item.target), self.block.path), type(layer).__name__)
        if (
            function_or_none(item) == "getitem"
            and isinstance(item.args[1], int)
            and item.args[0] in self.names
        ):
            # args[0] is a node, for it has a name
            return identifier(f"{self.names[item.args[0]]}_{item.args[1]}")  # type: ignore[index]
        if item.target is getattr:
            return identifier(str(item.args[1]))
        return result_name(self._function(item)[0])

    def _function(self, node: fx.Node) -> tuple[str, Any]:
        """Return the name of a function or method, and the function."""
        target = node.target
        if node.op == "call_module":
            call = self.steps.network.get_submodule(str(target))
            assert isinstance(call, TrainingFlagCall)
            target = call.function
        return str(getattr(target, "__name__", target)), target

    # --- expressions ------------------------------------------------------------------------------

    def _of(self, node: fx.Node) -> str:
        """Return the expression for a result."""
        if node in self.names:
            return self.names[node]
        return (
            self.get(relative(str(node.target), self.block.path))
            if node.op == "get_attr"
            else self._text(node)
        )

    def _text(self, item: fx.Node | Block) -> str:
        """Return the source of an item. Raises NotWritableError, with its place."""
        if isinstance(item, Block):
            inputs = ", ".join(map(self._of, item.inputs))
            return f"{self.get(relative(item.path, self.block.path))}({inputs})"
        try:
            return self._expression(item)
        except NotWritableError as error:
            raise NotWritableError(f"{self.steps.place(item)}: {error}") from None

    def _expression(self, node: fx.Node) -> str:
        """Return the source of an operation. Raises NotWritableError."""
        args, kwargs = node.args, dict(node.kwargs)
        if self.starred and node is self.block.items[0]:
            rest = called("", tuple(args[1:]), kwargs, self._of)[1:-1]
            return f"{self._callable(node.target)}(inputs{', ' * bool(rest)}{rest})"

        # layers and methods
        if self.steps.layer(node):
            return called(
                self.get(relative(str(node.target), self.block.path)), args, kwargs, self._of
            )
        if node.op == "call_method":
            if not is_name(str(node.target)):
                raise NotWritableError(f"{str(node.target)!r} is no name")
            self_, *args_ = args
            given = self._with_holes(node, tuple(args_), kwargs, [])
            return called(f"{self._operand(self_)}.{node.target}", *given, self._of)

        function = self._function(node)[1]
        if node.op == "call_module":
            args, kwargs = with_flag(
                self.steps.network.get_submodule(str(node.target)), args, kwargs
            )

        # attributes, parts and operators
        if function is getattr and len(args) == 2 and not kwargs:
            return at(self._operand(args[0]), str(args[1]))
        if function_or_none(node) == "getitem" and len(args) == 2:
            return f"{self._operand(args[0])}[{subscript(args[1], self._of)}]"
        if function in INFIX and len(args) == 2 and not kwargs:
            operands = [
                self._operand(arg)
                for arg in self._with_holes(node, args, {}, ["factor", "factor"])[0]
            ]
            return f"{operands[0]} {INFIX[function]} {operands[1]}"
        if function in PREFIX and len(args) == 1:
            return f"{PREFIX[function]}{self._operand(args[0])}"

        # functions
        name, kwargs = self._callable(function), without_defaults(function, kwargs)
        return called(
            name, *self._with_holes(node, args, kwargs, argument_names(function)), self._of
        )

    def _with_holes(
        self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], names: list[str]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a function, with numbers among them marked."""
        result = result_name(self._function(node)[0])

        def marked(name: str) -> Callable[[Any], Any]:
            def mark(value: Any) -> Any:
                if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                    return value
                self.holes.append(
                    Hole(f"{result}_{name}", value, is_width=isinstance(value, int) and value > 1)
                )
                return Source(f"{MARK}{len(self.holes) - 1}{MARK}")

            return mark

        given = [
            map_aggregate(arg, marked(names[at] if at < len(names) else str(at)))
            for at, arg in enumerate(args)
        ]
        return tuple(given), {
            name: map_aggregate(value, marked(name)) for name, value in kwargs.items()
        }

    def _callable(self, function: Any) -> str:
        """Return the name of a function, and remember helpers."""
        name = key(function)
        if isinstance(name, str) and name in HELPERS:
            self.helpers.append(name)
            return name.rpartition(".")[2]
        return function_name(function)

    def _operand(self, value: Any) -> str:
        """Return a value as an operand, in brackets if it is negative."""
        text = literal(value, self._of)
        return f"({text})" if text.startswith("-") else text
