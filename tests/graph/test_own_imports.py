"""Code of a user's imports what is beside it, whatever that is called, and leaves the process as it
was; this project keeps its own."""

import copy
import io
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from running import DIGITS, REPOSITORY, assert_refused, call, run, succeed

import model
import utils
from model import build_model, count_params, template
from model.errors import UnreadableNetwork
from model.graph.user_network import find

NET = """
import importlib
import torch
from torch import nn
import utils
import utils.more as more
from model.block import Block
from utils.act import Act as Activation

loaded = importlib.import_module("utils.more")


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        from utils.later import HIDDEN
        self.block, self.act, self.fc = Block(3, HIDDEN), Activation(), nn.Linear(HIDDEN, num_classes)

    def forward(self, x):
        from utils.latest import pool
        import model.shift
        return self.fc(pool(model.shift.shift(self.act(self.block(x)))))


def Same(num_classes):
    assert loaded is more and utils.more is more
    return Net(num_classes)
"""
FILES = {
    "net.py": NET,
    "utils/__init__.py": "from .act import Act\n",
    "utils/more.py": "from utils.act import Act\n",
    "utils/later.py": "HIDDEN = 7\n",
    "utils/act.py": "from torch import nn\n\n\nclass Act(nn.Module):\n    def forward(self, x):\n        "
    "return x.relu()\n",
    "utils/latest.py": "def pool(x):\n    from model.shift import ZERO\n    return x.mean((2, 3)) + ZERO\n",
    "model/block.py": "from torch import nn\nfrom utils import Act\n\n\nclass Block(nn.Conv2d):\n  "
    "  def __init__(self, i, o):\n        super().__init__(i, o, 3)\n",
    "model/shift.py": "ZERO = 0.0\n\n\ndef shift(x):\n    return x - ZERO\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.parametrize("name", ["research/net.py:Same", "net:Same", "net.py:Net"])
def test_packages_called_as_this_projects_are_its_own_at_any_time(name, here, monkeypatch):
    where = write(here / "research", FILES)
    if "research" not in name:
        monkeypatch.chdir(where)
    network = build_model(name, [5])
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert template(name) == [7] and count_params(name, [5]) == 5 * 28 + 60
    for module in (network, network.block, network.act):
        assert sys.modules[type(module).__module__].__dict__[type(module).__name__] is type(module)
    assert Path(sys.modules[type(network.act).__module__].__file__) == where / "utils/act.py"
    assert (
        Path(utils.__file__).parent == REPOSITORY / "utils"
        and Path(model.__file__).parent == REPOSITORY / "model"
    )
    import utils.errors as errors

    assert Path(errors.__file__).parent == REPOSITORY / "utils"


def test_a_network_of_such_code_is_stored_copied_and_loaded(here):
    write(here, FILES)
    network, file = build_model("net.py:Net", [5]), io.BytesIO()
    torch.save(network, file)
    for other in (
        torch.load(io.BytesIO(file.getvalue()), weights_only=False),
        pickle.loads(pickle.dumps(network)),
        copy.deepcopy(network),
    ):
        assert type(other) is type(network) and type(other.act) is type(network.act)
        assert torch.equal(other(torch.ones(1, 3, 32, 32)), network(torch.ones(1, 3, 32, 32)))


PLAIN = """
from torch import nn
{more}

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, {width}, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear({width}, num_classes))
"""


@pytest.mark.parametrize(
    "stem",
    ["plain_net_of_a_test", "model", "utils", "random", "torch", "check_model", "my-net", "net.v2"],
)
def test_a_file_may_be_called_anything(stem, here):
    write(
        here,
        {
            f"{stem}.py": PLAIN.format(
                width=6,
                more="import random\nimport torch\nassert random.random() >= 0 and torch.zeros(1) "
                "== 0\n",
            )
        },
    )
    before = {name: sys.modules.get(name) for name in (stem, "model", "utils", "random", "torch")}
    network = build_model(f"{stem}.py:Net", [4])
    module = type(network).__module__
    assert vars(sys.modules[module])["Net"] is type(network) and pickle.loads(pickle.dumps(network))
    assert {name: sys.modules.get(name) for name in before if name != module} == {
        name: found for name, found in before.items() if name != module
    }
    # else somebody has that name
    assert (module == stem) == (stem in ("plain_net_of_a_test", "my-net"))


def test_what_is_stored_is_loaded_where_the_code_is(here):
    """Without this project."""
    write(
        here,
        {
            "owned_by_a_test.py": PLAIN.format(width=6, more="from beside_a_test import nothing\n"),
            "beside_a_test.py": "nothing = 0\n",
        },
    )
    torch.save(build_model("owned_by_a_test.py:Net", [4]), "network.pt")
    code = (
        "import torch; network = torch.load('network.pt', weights_only=False); "
        "print(type(network).__module__, network[0].weight.shape[0])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "owned_by_a_test 4\n"
    )


def test_two_folders_have_modules_of_one_name_each(here):
    for number, width in enumerate((6, 9)):
        write(
            here / f"{number}",
            {
                "twin_of_a_test.py": PLAIN.format(
                    width="WIDTH", more="from widths_of_a_test import WIDTH\nimport utils.w"
                ),
                "widths_of_a_test.py": "from utils.w import WIDTH\n",
                "utils/w.py": f"WIDTH = {width}\n",
            },
        )
    assert [template(f"{number}/twin_of_a_test.py:Net") for number in (0, 1)] == [[6], [9]]
    first, second = (build_model(f"{number}/twin_of_a_test.py:Net") for number in (0, 1))
    assert type(first) is not type(second)
    for network in (first, second):
        assert type(pickle.loads(pickle.dumps(network))) is type(network)


def test_a_file_of_a_package_imports_from_it(here):
    write(
        here,
        {
            "project_of_a_test/__init__.py": "",
            "project_of_a_test/nets/__init__.py": "",
            "project_of_a_test/width.py": "WIDTH = 5\n",
            "project_of_a_test/nets/net.py": PLAIN.format(
                width="WIDTH", more="from ..width import WIDTH\nfrom . import other"
            ),
            "project_of_a_test/nets/other.py": "import project_of_a_test.width\n",
        },
    )
    assert template("project_of_a_test/nets/net.py:Net") == [5]
    assert (
        type(build_model("project_of_a_test/nets/net.py:Net")).__module__
        == "project_of_a_test.nets.net"
    )


def test_code_that_adds_to_where_modules_are_found_finds_them_later_too(here):
    write(
        here,
        {
            "root/utils/w.py": "WIDTH = 4\n",
            "root/later_of_a_test.py": "pass\n",
            "root/models/net.py": PLAIN.format(
                width="WIDTH",
                more="import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), "
                "'..'))\nfrom utils.w import WIDTH",
            )
            + "        import later_of_a_test\n",
        },
    )
    before = list(sys.path)
    assert template("root/models/net.py:Net") == [4] and build_model("root/models/net.py:Net", [2])
    assert sys.path == before


def test_a_module_of_a_folder_in_pythonpath_has_its_own_too(here):
    write(here / "there", FILES)
    outcome = subprocess.run(
        [
            sys.executable,
            REPOSITORY / "check_model.py",
            "--model",
            "net:Net",
            "--dataset",
            "digits",
        ],
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(here / "there")},
    )
    assert (outcome.returncode, outcome.stderr, outcome.stdout.splitlines()[-1]) == (0, "", "ready")


def test_modules_of_libraries_are_everybodys(here):
    write(
        here,
        {
            "torchvision/data.txt": "a folder of that name is no package",
            "net.py": "from torchvision.models import resnet18\n",
        },
    )
    assert len(template("torchvision.models:resnet18")) == 12
    assert build_model("net.py:resnet18").__class__ is sys.modules["torchvision.models"].ResNet


def test_what_is_missing_is_named_as_the_code_does(here):
    write(
        here,
        {
            "utils/a.py": "",
            "net.py": "import utils.missing\n",
            "other.py": "raise FileNotFoundError('settings.yaml')\n",
        },
    )
    for name, said in (
        ("net.py:Net", "No module named 'utils.missing'"),
        ("other.py:Net", "FileNotFoundError: settings.yaml"),
    ):
        with pytest.raises(UnreadableNetwork, match=said):
            template(name)


# --- the process as before ------------------------------------------------------------------------

CHANGES = """
import logging, os, random, signal, sys, warnings
import numpy, torch
{indent}assert sys.argv[1:] == []
{indent}os.chdir("/")
{indent}sys.path[:] = ["/nowhere"] + sys.path
{indent}os.environ["OF_A_TEST"] = "1"
{indent}os.environ.pop("HOME", None)
{indent}warnings.simplefilter("error")
{indent}logging.disable(logging.CRITICAL)
{indent}logging.getLogger().setLevel(5)
{indent}logging.getLogger().addHandler(logging.NullHandler())
{indent}signal.signal(signal.SIGINT, signal.SIG_IGN)
{indent}sys.setrecursionlimit(12345)
{indent}torch.set_default_dtype(torch.float64)
{indent}torch.set_num_threads(3)
{indent}torch.set_grad_enabled(False)
{indent}torch.set_default_device("meta")
{indent}torch.use_deterministic_algorithms(True)
{indent}torch.set_float32_matmul_precision("medium")
{indent}torch.autograd.set_detect_anomaly(True)
{indent}torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
"""
SEEDS = "random.seed(0)\nnumpy.random.seed(0)\ntorch.manual_seed(0)\n"


def state() -> list:
    return [
        os.getcwd(),
        list(sys.path),
        list(sys.argv),
        dict(os.environ),
        list(warnings.filters),
        logging.root.manager.disable,
        logging.root.level,
        list(logging.root.handlers),
        signal.getsignal(signal.SIGINT),
        sys.getrecursionlimit(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.zeros(1).device,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.is_anomaly_enabled(),
        torch.backends.cudnn.benchmark,
    ]


@pytest.mark.parametrize("when", ["imported", "called"])
def test_whatever_its_code_changes_is_as_before(when, here, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", "--and", "its options"])
    code = PLAIN.format(
        width=6, more=CHANGES.format(indent="") + SEEDS if when == "imported" else ""
    )
    if when == "called":
        changes = CHANGES.format(indent="        ").replace("\nimport", "\n        import")
        code = code.replace("        super()", f"{changes}        super()")
    write(here, {"net.py": code})
    before, random_before = (
        state(),
        (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
    )
    assert template("net.py:Net") == [6]
    build_model("net.py:Net", [4])
    assert state() == before
    if when == "imported":
        find.cache_clear()
        with torch.random.fork_rng():
            find("net.py", "Net")
        assert (random.getstate(), np.random.get_state()[1].tolist()) == random_before[:2]


def test_a_script_goes_on_as_if_nothing_had_been(here):
    write(
        here,
        {
            "net.py": PLAIN.format(
                width=6,
                more=CHANGES.format(indent="").replace('torch.set_default_device("meta")', "")
                + "import argparse\nasked = argparse.ArgumentParser().parse_args()\n",
            )
        },
    )
    assert (
        run(
            "check_model.py", "--model", "net.py:Net", "--dataset", "digits", cwd=here, fresh=True
        ).out.splitlines()[-1]
        == "ready"
    )
    succeed(
        "ratio_swipe.py",
        "--model",
        "net.py:Net",
        "--save",
        "u_0",
        "--uniform",
        "--ratios",
        0.5,
        *DIGITS,
        "--epochs",
        1,
    )
    assert Path("saved_plots/net.Net/u_0_50.json").exists()


def test_code_that_ends_the_process_is_refused(here):
    write(here, {"net.py": "import sys\n\n\ndef Net(num_classes):\n    sys.exit(0)\n"})
    assert_refused(call("check_model.py", "--model", "net.py:Net"), "SystemExit: 0")
