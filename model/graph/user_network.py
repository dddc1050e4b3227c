"""Networks of users, named MODULE:FUNCTION or FILE.py:FUNCTION, and read from their graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.architecture import Architecture, Compaction
from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.graph.own_imports import import_file, import_module
from model.images import COLOURS, ImageSize, Pixels, pixels_of
from model.names import as_options, parsed

if TYPE_CHECKING:
    from torch import nn

    from model.graph.blueprint import Blueprint

CLASSES = 10  # for reading a network where no number of classes is given
SIZES = (224, 64, 32)  # pixels that are tried where no size is given


class UserNetwork(Architecture):
    """A user's network, imported and read when it is first asked for something.

    Raises UnreadableNetwork.
    """

    search_extra = 0  # it is searched as it is

    def __init__(self, name: str):
        self.name = name
        try:
            self.parsed = parsed(name)
        except ValueError as error:
            raise UnreadableNetwork(str(error)) from None
        self.read: dict[tuple[int, int | Pixels], Blueprint] = {}

    @property
    def template(self) -> list[int]:  # type: ignore[override]  # known when it is asked for
        return self.first().template

    def blueprint(
        self, num_classes: int, image_size: ImageSize, channels: int = COLOURS
    ) -> Blueprint:
        """Return the network as read for images of this size and ``num_classes`` classes."""
        from model.graph.blueprint import Blueprint
        from model.graph.trace import random_state_kept

        pixels = pixels_of(image_size, channels)
        key = num_classes, pixels
        if key not in self.read:
            with random_state_kept():
                try:
                    found = Blueprint(self.make(num_classes), num_classes, pixels)
                except UnreadableNetwork as error:
                    raise UnreadableNetwork(
                        f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}"
                    ) from None
            for other in self.read.values():
                if (other.template, other.layers()) != (found.template, found.layers()):
                    raise UnreadableNetwork(
                        f"{self.name}: has other widths for {num_classes} classes and "
                        f"{pixels} pixels than before"
                    )
            self.read[key] = found
        return self.read[key]

    def make(self, num_classes: int) -> nn.Module:
        """Return the network as its own code makes it. Raises UnreadableNetwork."""
        from torch import nn

        from model.graph.as_before import as_before

        function = find(self.parsed.place, self.parsed.function)

        arguments = {"num_classes": num_classes, **self.parsed.arguments}
        self._refuse_arguments(function, arguments)
        try:
            with as_before(random=False):
                network = function(**arguments)
        except (Exception, SystemExit) as error:  # whatever its code raises
            raise UnreadableNetwork(
                f"{self.name}: calling it with {as_options(arguments)} raised {_said(error)}"
            ) from None

        if not isinstance(network, nn.Module):
            raise UnreadableNetwork(
                f"{self.name}: gives a {type(network).__name__}, not a torch.nn.Module"
            )
        return network

    def _refuse_arguments(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        """Raise UnreadableNetwork if a function does not take these arguments, or needs more."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return  # a function without a signature

        try:
            signature.bind(**arguments)
        except TypeError as error:
            missing = [
                part.name
                for part in signature.parameters.values()
                if part.default is part.empty
                and part.name not in arguments
                and part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)
            ]

            # say what to add
            example = " ".join(
                f"{name}={3 if re.match('in_?ch|channels', name) else 'VALUE'}" for name in missing
            )
            hint = f"; give it with --model-args {example}" if missing else ""
            said = as_options(arguments).replace(" ", ", ")
            raise UnreadableNetwork(
                f"{self.name}: can't be called as f({said}): {error}{hint}"
            ) from None

    def build(
        self,
        filters: list[int],
        num_classes: int,
        image_size: ImageSize,
        gated: bool,
        convcut: bool,
    ) -> nn.Module:
        self._refuse(convcut)
        blueprint = self.blueprint(num_classes, image_size)
        return blueprint.build(self.make(num_classes), list(filters), gated)

    def count(
        self, cost: Cost, filters: Number, num_classes: int, image_size: ImageSize, convcut: bool
    ) -> None:
        self._refuse(convcut)
        self.blueprint(num_classes, image_size).count(cost, filters)

    def compactor(
        self,
        network: nn.Module,
        num_classes: int,
        image_size: ImageSize,
        multiple: int,
        through_norms: bool,
    ) -> Compaction:
        return self.blueprint(num_classes, image_size).cutter(network, multiple, through_norms)

    def layers(self) -> list[list[str]]:
        return self.first().layers()

    def layer_names(self) -> list[list[str]]:
        return self.layers()

    def described(self, num_classes: int, image_size: ImageSize) -> list[str]:
        return self.blueprint(num_classes, image_size).described()

    def first(self, num_classes: int = CLASSES, sizes: Sequence[ImageSize] = SIZES) -> Blueprint:
        """Return the network as it was first read; if it was not yet, for the first size that it
        takes."""
        if self.read:
            return next(iter(self.read.values()))
        errors = []
        for size in sizes:
            try:
                return self.blueprint(num_classes, size)
            except UnreadableNetwork as error:
                errors.append(error)
        raise errors[0]

    def _refuse(self, convcut: bool) -> None:
        if convcut:
            raise UnreadableNetwork(
                f"{self.name}: --convcut is for built-in networks with shortcuts; a graph "
                "can't say what is a shortcut"
            )


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@cache
def find(place: str, function: str) -> Callable[..., Any]:
    """Return a function of ``place``, a module or a file that ends in .py. Raises
    UnreadableNetwork."""
    from model.graph.as_before import as_before

    name, file = f"{place}:{function}", Path(place) if place.endswith(".py") else None
    if file and not file.is_file():
        raise UnreadableNetwork(f"{name}: there is no file {place}")

    try:
        with as_before(folder=str(file.resolve().parent if file else Path.cwd())):
            module = import_file(file) if file else import_module(place)
    except ModuleNotFoundError as error:
        raise UnreadableNetwork(f"{name}: {error}; install it, or say FILE.py:FUNCTION") from None
    except (Exception, SystemExit) as error:  # whatever its code raises
        raise UnreadableNetwork(f"{name}: importing {place} raised {_said(error)}") from None

    found = getattr(module, function, None)
    if found is None:
        near = get_close_matches(function, vars(module), 3)
        raise UnreadableNetwork(
            f"{name}: {place} has no "
            f"{function}{'; is it ' * bool(near)}{' or '.join(near)}{'?' * bool(near)}"
        )
    if not callable(found):
        raise UnreadableNetwork(
            f"{name}: {function} is a {type(found).__name__}, nothing that can be called"
        )
    result: Callable[..., Any] = found
    return result


@cache
def imported(name: str) -> UserNetwork:
    """Return the network of this name; there is one object for each name."""
    return UserNetwork(name)
