"""Imports of a user's code: the modules beside it are its own, whatever their names; this project
and installed libraries keep theirs.

``import utils`` in a user's file means the ``utils`` beside it. A user's modules have an
``__import__`` of their own, which works at any time: in functions, constructors and forward passes
too. In sys.modules such a module keeps the name that its code uses where that is free, so that
pickles can be loaded where the code is. Where this project or a library has the name, it gets
another one.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = ("model", "utils")
LIBRARIES = ("site-packages", "dist-packages")


class OwnImports:
    """The imports of code in a ``folder``.

    It imports from that folder, from folders that it adds to sys.path and from the current folder,
    before anywhere else.
    """

    def __init__(self, folder: Path):
        self.folder, self.before = folder, set(sys.path)
        self.roots = list(dict.fromkeys([str(folder), str(Path.cwd())]))
        self.files: dict[str, Path] = {}  # files that were asked for, by top-level name
        # the names in sys.modules, by the top-level names in its code; None: as for all other code
        self.names: dict[str, str | None] = {}
        self.builtins = {**vars(builtins), "__import__": self.import_}

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """Import as the import statement does, for the user's modules."""
        top, dot, rest = name.partition(".")
        own = self.name_of(top) if level == 0 else None
        try:
            found = builtins.__import__(
                f"{own}{dot}{rest}" if own else name, globals, locals, fromlist or (), level
            )
        # the message should have the name that the code uses
        except ModuleNotFoundError as error:
            if own in (None, top):
                raise
            raise ModuleNotFoundError(str(error).replace(f"'{own}", f"'{top}"), name=name) from None

        return self.importlib(found) if found is importlib else found

    def importlib(self, module: ModuleType) -> ModuleType:
        """Return importlib with an import_module that imports as these modules' import statement
        does."""
        own = ModuleType(module.__name__)
        vars(own).update(vars(module), import_module=self.import_module)
        return own

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module by its name, relative to ``package`` if it begins with a dot."""
        if name.startswith("."):
            return importlib.import_module(name, package)
        top, dot, rest = name.partition(".")
        return importlib.import_module(f"{self.name_of(top) or top}{dot}{rest}")

    def name_of(self, top: str) -> str | None:
        """Return the name in sys.modules of a top-level module of its own; None if it has none."""
        if self.names.get(top) is None:  # it may have been added to since
            self.names[top] = self._name_of(top)
        return self.names[top]

    def _name_of(self, top: str) -> str | None:
        """Choose the name in sys.modules of a top-level module; None if it is nobody's or
        another's."""
        if top in sys.stdlib_module_names:
            return None
        spec = self.spec(top)
        if spec is None or ours(spec):
            return None

        # an installed library comes before a folder, and before a file that asks for its own name
        elsewhere = PathFinder.find_spec(
            top,
            [
                path
                for path in sys.path
                if not self.is_root(path) and Path(path).resolve() != PROJECT
            ],
        )
        installed = elsewhere is not None and elsewhere.origin is not None
        # folders are no packages; a file does not mean itself
        if installed and (spec.origin is None or top in self.files):
            return None

        return self.register(
            top, installed or PathFinder.find_spec(top, [str(PROJECT)]) is not None
        )

    def register(self, top: str, taken: bool) -> str:
        """Choose a free name in sys.modules for a top-level module: its own, unless that is
        ``taken``."""
        names = itertools.chain(
            [] if taken else [top], (f"network_{top}{number or ''}" for number in itertools.count())
        )
        name = next(
            name
            for name in names
            if OWNERS.get(name, (self, top)) == (self, top)
            and (name in OWNERS or name not in sys.modules)
        )
        OWNERS[name] = self, top
        return name

    def spec(self, top: str) -> ModuleSpec | None:
        """Find a top-level module of its own."""
        if top in self.files:
            return importlib.util.spec_from_file_location(top, self.files[top])
        added = [path for path in sys.path if path not in self.before and path not in self.roots]
        self.roots += added  # while its code is imported
        return PathFinder.find_spec(top, self.roots)

    def is_root(self, path: str) -> bool:
        """Return True if a path of sys.path is one of its folders."""
        return str(Path(path).resolve()) in {str(Path(root).resolve()) for root in self.roots}

    def file(self, path: Path) -> ModuleType:
        """Import a file of the folder anew, as a module."""
        top = path.stem.replace(".", "_")
        self.files[top] = path
        name = self.name_of(top) or self.register(top, taken=True)
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    def module(self, name: str) -> ModuleType:
        """Import a module in the folder by its name."""
        return self.import_module(name)


class Loader(SourceFileLoader):
    """Runs a module's code with the import statement of its owner."""

    def __init__(self, name: str, path: str, imports: OwnImports):
        super().__init__(name, path)
        self.imports = imports

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.imports.builtins
        super().exec_module(module)


class Finder(MetaPathFinder):
    """Finds users' modules by their names in sys.modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        imports, top = OWNERS.get(fullname.partition(".")[0], (None, ""))
        if imports is None:
            return None

        spec = imports.spec(top) if "." not in fullname else PathFinder.find_spec(fullname, path)
        if spec is None:
            return None
        if spec.origin is None:  # a folder without __init__.py
            found = ModuleSpec(fullname, None, is_package=True)
            found.submodule_search_locations = list(spec.submodule_search_locations or ())
            return found

        if not isinstance(spec.loader, SourceFileLoader):
            return spec
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=Loader(fullname, spec.origin, imports),
            submodule_search_locations=spec.submodule_search_locations,
        )


# the owner of each name in sys.modules, and the name that its code uses
OWNERS: dict[str, tuple[OwnImports, str]] = {}
sys.meta_path.insert(0, Finder())


@cache
def imports_in(folder: Path) -> OwnImports:
    """Return the imports of a folder; there is one object for each, so modules are imported
    once."""
    return OwnImports(folder)


def import_file(path: Path) -> ModuleType:
    """Import a user's file as a module.

    A file that imports from its own package (``from .layers import …``) is imported as a part of
    it.
    """
    importlib.invalidate_caches()  # a folder may have got files this moment
    path = path.resolve()

    # the packages around it, the innermost first
    package = (
        [path.parent]
        if (path.parent / "__init__.py").is_file() and imports_relatively(path)
        else []
    )
    while package and (package[-1].parent / "__init__.py").is_file():
        package.append(package[-1].parent)

    if not package:
        return imports_in(path.parent).file(path)
    return imports_in(package[-1].parent).module(
        ".".join([*(folder.name for folder in reversed(package)), path.stem])
    )


def import_module(name: str) -> ModuleType:
    """Import a user's module by its name.

    A module of the current folder, or of a folder in PYTHONPATH that has modules with the names of
    this project's, is imported with imports of its own; any other one as Python does.
    """
    importlib.invalidate_caches()
    top = name.partition(".")[0]
    for folder in dict.fromkeys([Path.cwd(), *own_folders()]):
        spec = PathFinder.find_spec(top, [str(folder)])
        if (
            spec is not None
            and not ours(spec)
            and (folder == Path.cwd() or clashes(folder))
            and imports_in(folder).name_of(top)
        ):
            return imports_in(folder).module(name)
    return importlib.import_module(name)


def own_folders() -> list[Path]:
    """Return the folders in sys.path that are neither this project's nor Python's libraries."""
    base = Path(ast.__file__).parent  # of Python's own modules
    paths = [
        Path(path)
        for path in sys.path
        if path and Path(path).is_dir() and not any(part in path for part in LIBRARIES)
    ]
    return [
        path for path in paths if path.resolve() != PROJECT and base not in (path, *path.parents)
    ]


def clashes(folder: Path) -> bool:
    """Return True if a folder has modules with the names of this project's."""
    return any(
        PathFinder.find_spec(top, [str(folder)])
        for top in [*ROOMS, *(path.stem for path in PROJECT.glob("*.py"))]
    )


def ours(spec: ModuleSpec) -> bool:
    """Return True if a module belongs to this project."""
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(
        Path(place).resolve().is_relative_to(PROJECT / room) for place in places for room in ROOMS
    )


def imports_relatively(path: Path) -> bool:
    """Return True if a file has an import such as ``from .layers import …``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
