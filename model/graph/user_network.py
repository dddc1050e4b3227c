"""Networks of other people's, named MODULE:FUNCTION or FILE.py:FUNCTION, and read from their graph."""
from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.architecture import Architecture, Compaction
from model.cost import Cost, Number
from model.errors import UnreadableNetwork

if TYPE_CHECKING:
    from torch import nn

    from model.graph.blueprint import Blueprint

CLASSES = 10  # that a network is read for where nobody says others
SIZES = (224, 64, 32)  # pixels that are tried where nobody says any


class UserNetwork(Architecture):
    """A network that is imported, and read, when it is first asked for something. Raises UnreadableNetwork."""

    search_extra = 0  # it is searched as it is

    def __init__(self, name: str):
        self.name = name
        self.read: dict[tuple[int, int], Blueprint] = {}

    @property
    def template(self) -> list[int]:  # type: ignore[override]  # known when it is asked for
        return self.first().template

    def blueprint(self, num_classes: int, image_size: int) -> Blueprint:
        """The network as it was read for images of this size, and so many classes."""
        from model.graph.blueprint import Blueprint
        from model.graph.trace import random_state_kept
        key = num_classes, image_size
        if key not in self.read:
            with random_state_kept():
                try:
                    found = Blueprint(self.make(num_classes), num_classes, image_size)
                except UnreadableNetwork as error:
                    raise UnreadableNetwork(f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}") from None
            for other in self.read.values():
                if (other.template, other.layers()) != (found.template, found.layers()):
                    raise UnreadableNetwork(f"{self.name}: has other widths for {num_classes} classes and {image_size} pixels than before")
            self.read[key] = found
        return self.read[key]

    def make(self, num_classes: int) -> nn.Module:
        """The network as its own code makes it."""
        from torch import nn
        function = find(self.name)
        try:
            inspect.signature(function).bind(num_classes=num_classes)
        except TypeError as error:
            raise UnreadableNetwork(f"{self.name}: can't be called as f(num_classes={num_classes}): {error}") from None
        except ValueError:
            pass  # it does not say what it takes
        try:
            with _same_folder(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = function(num_classes=num_classes)
        except Exception as error:  # whatever its code raises
            raise UnreadableNetwork(f"{self.name}: calling it with num_classes={num_classes} raised {_said(error)}") from None
        if not isinstance(network, nn.Module):
            raise UnreadableNetwork(f"{self.name}: gives a {type(network).__name__}, not a torch.nn.Module")
        return network

    def build(self, filters: list[int], num_classes: int, image_size: int, gated: bool, convcut: bool) -> nn.Module:
        self._refuse(convcut)
        blueprint = self.blueprint(num_classes, image_size)
        return blueprint.build(self.make(num_classes), list(filters), gated)

    def count(self, cost: Cost, filters: Number, num_classes: int, image_size: int, convcut: bool) -> None:
        self._refuse(convcut)
        self.blueprint(num_classes, image_size).count(cost, filters)

    def compactor(self, network: nn.Module, num_classes: int, image_size: int, multiple: int, through_norms: bool) -> Compaction:
        return self.blueprint(num_classes, image_size).cutter(network, multiple, through_norms)

    def layers(self) -> list[list[str]]:
        return self.first().layers()

    def layer_names(self) -> list[list[str]]:
        return self.layers()

    def described(self, num_classes: int, image_size: int) -> list[str]:
        return self.blueprint(num_classes, image_size).described()

    def first(self, num_classes: int = CLASSES, sizes: Sequence[int] = SIZES) -> Blueprint:
        """As it was read first; where it was not yet, for the first of these sizes of images that it takes."""
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
            raise UnreadableNetwork(f"{self.name}: --convcut is for resnet18 and mobilenetv2; a graph can't say what is a shortcut")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@cache
def find(name: str) -> Callable[..., Any]:
    """What MODULE:FUNCTION or FILE.py:FUNCTION names. Raises UnreadableNetwork."""
    place, _, function = name.rpartition(":")
    try:
        with _same_folder():
            module = _file(Path(place)) if place.endswith(".py") else _module(place)
    except FileNotFoundError:
        raise UnreadableNetwork(f"{name}: there is no file {place}") from None
    except ModuleNotFoundError as error:
        raise UnreadableNetwork(f"{name}: {error}; install it, or say FILE.py:FUNCTION") from None
    except (Exception, SystemExit) as error:  # whatever its code raises
        raise UnreadableNetwork(f"{name}: importing {place} raised {_said(error)}") from None
    found = getattr(module, function, None)
    if found is None:
        near = get_close_matches(function, vars(module), 3)
        raise UnreadableNetwork(f"{name}: {place} has no {function}{'; is it ' * bool(near)}{' or '.join(near)}{'?' * bool(near)}")
    if not callable(found):
        raise UnreadableNetwork(f"{name}: {function} is a {type(found).__name__}, nothing that can be called")
    result: Callable[..., Any] = found
    return result


@contextmanager
def _same_folder() -> Iterator[None]:
    """Whatever code of somebody else's does, the current folder is the same again afterwards: paths are relative to it."""
    here = os.getcwd()
    try:
        yield
    finally:
        os.chdir(here)


def _module(place: str) -> Any:
    here = str(Path.cwd())
    sys.path.append(here)  # the current folder, last: it hides nothing
    try:
        return importlib.import_module(place)
    finally:
        with suppress(ValueError):  # its code may have changed that too
            sys.path.remove(here)


def _file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError
    spec = importlib.util.spec_from_file_location(f"network_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look there
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)  # what lies beside it can be imported, as when it is run
    try:
        spec.loader.exec_module(module)
    finally:
        with suppress(ValueError):
            sys.path.remove(beside)
    return module


@cache
def imported(name: str) -> UserNetwork:
    """The network of this name, one for each name."""
    return UserNetwork(name)
