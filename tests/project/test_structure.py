"""How the code hangs together: imports go one way, the command line stays in its room, files stay
small."""

import ast
from graphlib import TopologicalSorter

import pytest
from running import REPOSITORY, SCRIPTS, SOURCES

FLOORS = [  # each imports from those before it, and from itself
    {"model"},
    {"utils.errors", "utils.powerlaw", "utils.pruning"},
    {"utils.settings", "utils.script"},
    {"utils.records"},
    {"utils.data"},
    {"utils.training"},
    {"utils.search", "utils.compression", "utils.figures", "utils.export"},
    {"utils.experiment"},
    {"utils.study"},
    {"scripts"},
]
LONGEST = 320  # lines


def module_of(path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imported(path) -> set[str]:
    """The project's modules that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inside]
        found |= {name for name in names if name in MODULES}
    return found - {module_of(path)}


def room(module: str) -> str:
    parts = module.split(".")
    return (
        "scripts"
        if parts[0] not in ("model", "utils")
        else ".".join(parts[:1] if parts[0] == "model" else parts[:2])
    )


def test_every_import_goes_down_or_stays_in_its_room():
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    assert {room(module) for module in MODULES} == {*floor, "utils"}
    wrong = [
        f"{module} -> {target}"
        for module, path in MODULES.items()
        if module != "utils"
        for target in imported(path)
        if room(module) != room(target) and not floor[room(target)] < floor[room(module)]
    ]
    assert wrong == []


def test_no_file_imports_itself_by_way_of_others():
    # raises CycleError
    TopologicalSorter({module: imported(path) for module, path in MODULES.items()}).prepare()


def test_no_script_imports_a_script():
    assert not {
        target
        for script in SCRIPTS
        for target in imported(REPOSITORY / script)
        if room(target) == "scripts"
    }


def test_the_command_line_is_read_in_the_settings_alone():
    for path in SOURCES:
        words = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        words |= {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert "Namespace" not in words, path
        assert "argparse" not in words or "settings" in path.parts, path


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_the_core_of_the_algorithm_needs_no_files_and_no_settings():
    """For loops of a user's own: pruning and fit import nothing of the project, the networks
    nothing but each other."""
    for module in ("utils.pruning", "utils.powerlaw"):
        assert imported(MODULES[module]) == set()
