"""What people run into first: a notebook's settings, odd numbers of images, networks that do odd
things, how iterations are counted."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import DIGITS, assert_refused, call, run, succeed
from torch import nn
from versions import OLD

from utils.data import Augmentation, Batches, Data, Split
from utils.errors import UserError
from utils.experiment.work import read_log_tail
from utils.export.compare import differences
from utils.export.formats import written
from utils.export.known import images_of
from utils.records.paths import file_name_of
from utils.settings import Dataset

SEARCH = [
    "architecture_descent.py",
    *DIGITS,
    "--ratio",
    0.0625,
    "--epochs",
    2,
    "--warmup",
    0,
    "--prune-every",
    1,
]
TINY = ["--epochs", 1, "--dataset", "digits", "--limit-test", 20]


pytestmark = pytest.mark.usefixtures("here")


# --- a last batch of one image --------------------------------------------------------------------


def sizes(number: int, batch_size: int, augmentation: Augmentation | None) -> list[int]:
    split = Split(torch.zeros(number, 8, 8, 3, dtype=torch.uint8), torch.arange(number))
    data = Data("noise", split, split, number, 8, torch.ones(3), torch.ones(3), Dataset("noise"))
    batches = Batches(data, split, batch_size, augmentation)
    found = [labels for _, labels in batches.epoch(torch.Generator().manual_seed(0))]
    assert sorted(torch.cat(found).tolist()) == list(range(number)) and len(batches) == len(found)
    return [len(labels) for labels in found]


@pytest.mark.parametrize("augmentation", [Augmentation(True, True, 0.0), None])
@pytest.mark.parametrize(
    "number, batch_size, expected",
    [
        (33, 16, [16, 17]),
        (17, 16, [17]),
        (16, 16, [16]),
        (34, 16, [16, 16, 2]),
        (3, 2, [3]),
        (1, 16, [1]),
        (1, 1, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_one_image_that_would_be_left_alone_goes_with_the_batch_before(
    number, batch_size, expected, augmentation
):
    assert sizes(number, batch_size, augmentation) == expected


NETWORKS = """
import os
from torch import nn

def net(num_classes, norm=nn.BatchNorm2d):
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1), norm(16), nn.ReLU(), nn.Flatten(), nn.Linear(16, num_classes)
    return nn.Sequential(*layers)

def instances(num_classes):
    return net(num_classes, nn.InstanceNorm2d)

def one_width(num_classes):
    layers = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes)
    return nn.Sequential(*layers)

def moving(num_classes):
    os.chdir("/")
    return one_width(num_classes)
"""
UNIFORM = ["ratio_swipe.py", "--save", "x_0", "--uniform", "--ratios", 0.5, *TINY]


def test_a_batch_norm_of_one_number_per_image_is_trained_on_any_number_of_images():
    Path("nets.py").write_text(NETWORKS)
    succeed(*UNIFORM, "--model", "nets.py:net", "--limit-train", 33, "--batch-size", 16)


@pytest.mark.parametrize(
    "network, options, said",
    [
        ("net", ["--batch-size", 1], "a norm of this network"),
        ("instances", ["--batch-size", 16], "more than 1 spatial element"),
    ],
)
def test_where_a_norm_has_one_number_alone_a_line_says_so(network, options, said):
    Path("nets.py").write_text(NETWORKS)
    assert_refused(
        call(*UNIFORM, "--model", f"nets.py:{network}", "--limit-train", 32, *options),
        said,
        "32 pixels",
    )


# --- networks that do odd things ------------------------------------------------------------------


def test_a_file_that_changes_the_folder_and_the_path_when_it_is_imported_changes_neither_for_us():
    here = os.getcwd()
    Path("nets.py").write_text(
        NETWORKS.replace(
            "from torch", "import sys; os.chdir('/'); sys.path.remove(sys.path[0])\nfrom torch"
        )
    )
    Path("package.py").write_text("import os; os.chdir('/')\n" + NETWORKS)
    for model in ("nets.py:one_width", "nets.py:moving", "package:one_width"):
        succeed(*UNIFORM, "--model", model, "--limit-train", 32, "--batch-size", 16)
        assert (
            os.getcwd() == here and Path("saved_plots", file_name_of(model), "x_0_50.json").exists()
        )


def test_the_filters_of_a_network_with_one_width_are_drawn():
    Path("nets.py").write_text(NETWORKS)
    of = ["--model", "nets.py:one_width", "--dataset", "digits"]
    succeed(*SEARCH, *of, "--ratio", 1, "--save", "single", "--iterations", 1)
    assert "drew" in succeed("plot_filters.py", *of, "--prune-fname", "single")
    assert "drew" in succeed("list_architecture.py", *of, "--prune-fname", "single", "--plot")


class WithPlaces(nn.Module):
    """Not only the maxima are taken."""

    def forward(self, images):
        values, places = nn.functional.adaptive_max_pool2d(images, 5, return_indices=True)
        return (values + places).flatten(1)[:, :3]


@pytest.mark.parametrize(
    "pooling", [nn.AdaptiveMaxPool2d(5), nn.AdaptiveMaxPool2d((40, None))], ids=str
)
@pytest.mark.parametrize("inside", [False, True], ids=["normalised outside", "normalised inside"])
def test_adaptive_max_pooling_is_exported(pooling, inside, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), pooling, nn.Flatten(), nn.LazyLinear(3)
    ).eval()
    network(torch.zeros(1, 3, 32, 32))
    images = replace(images_of("CIFAR10", {}, 3), inside=inside)
    for name, content in written(network, network.state_dict(), None, 32, images):
        (tmp_path / name).write_bytes(content)
    assert max(differences(network, tmp_path, 32, images, None).values()) <= 1e-5


@pytest.mark.parametrize(
    "layer, named",
    [
        (nn.RReLU(), "aten.rrelu"),
        pytest.param(
            WithPlaces(),
            "aten.adaptive_max_pool2d",
            marks=pytest.mark.skipif(OLD, reason="PyTorch 2.7 stops at network.pt2, before ONNX"),
        ),
    ],
    ids=["RReLU", "places"],
)
def test_what_onnx_has_no_counterpart_of_is_named_in_a_line(layer, named):
    with pytest.raises(
        UserError,
        match=rf"can't be exported as network.onnx: there is no counterpart of {named}.*Nothing was",
    ) as error:
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer, nn.Flatten()).eval()
        list(written(network, network.state_dict(), None, 32, images_of("CIFAR10", {}, 3)))
    assert "\n" not in str(error.value)


# --- a notebook's settings ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_pictures_are_drawn_whatever_backend_is_named(backend, tmp_path):
    outcome = run("plot_ratio.py", cwd=tmp_path, env={"MPLBACKEND": backend}, fresh=True)
    assert (outcome.status, outcome.err) == (
        0,
        "",
    ) and "drew saved_plots/vgg/CIFAR10_accuracy_params.png" in outcome.out


# --- how iterations are counted -------------------------------------------------------------------


def test_an_iteration_is_called_by_its_number_and_by_the_option_that_asks_for_it():
    out = succeed(*SEARCH, "--save", "found", "--iterations", 2)
    assert (
        "iteration 1 (--descent-idx 0), epoch 0: loss" in out
        and "iteration 2 (--descent-idx 1): " in out
    )
    of = ["--dataset", "digits", "--prune-fname", "found"]
    sweep = [
        "ratio_swipe.py",
        *of,
        *TINY,
        "--ratios",
        0.0625,
        "--limit-train",
        20,
        "--batch-size",
        20,
    ]
    assert "found: iteration 2 (--descent-idx 1) of 2; drawn as neuralscale_2\n" in succeed(
        *sweep, "--save", "a_0"
    )
    assert "found: iteration 1 (--descent-idx 0) of 2; drawn as neuralscale_1\n" in succeed(
        *sweep, "--save", "b_0", "--descent-idx", 0
    )
    assert_refused(
        call(*sweep, "--save", "c_0", "--descent-idx", 2),
        "this search has 2 iterations, --descent-idx 0 to 1",
    )

    listed = succeed("list_architecture.py", *of, "--ratios", 0.25).splitlines()
    assert listed[1].split()[:3] == ["ratio", "iteration", "--descent-idx"]
    assert [line.split()[:3] for line in listed[2:4]] == [["0.25", "1", "0"], ["0.25", "2", "1"]]
    content = json.loads(call("list_architecture.py", *of, "--ratios", 0.25, "--json").out)
    # for programs, as files are
    assert [row["iteration"] for row in content["architectures"]] == [0, 1]


def test_the_one_iteration_of_morphnet_names_no_option_that_does_not_go_with_it():
    out = succeed(*SEARCH, "--save", "morphed", "--morph")
    assert "iteration 1 of 1, epoch 0: loss" in out and "--descent-idx" not in out
    of = ["--dataset", "digits", "--prune-fname", "morphed"]
    sweep = [
        "ratio_swipe.py",
        *of,
        *TINY,
        "--morph",
        "--ratios",
        0.0625,
        "--limit-train",
        20,
        "--batch-size",
        20,
        "--save",
        "a_0",
    ]
    assert "morphed: iteration 1 of 1; drawn as morphnet\n" in succeed(*sweep)
    assert succeed("list_architecture.py", *of, "--ratios", 0.25).splitlines()[2].split()[:3] == [
        "0.25",
        "1",
        "-",
    ]


def test_pictures_call_an_iteration_by_both(monkeypatch):
    from utils.figures import style

    titles, shown = [], style.save

    def save(fig, path):
        fig.canvas.draw()
        titles.extend(
            (
                axes.get_title(),
                axes.get_ylabel(),
                [label.get_text() for label in axes.get_yticklabels()],
            )
            for axes in fig.axes
        )
        shown(fig, path)

    monkeypatch.setattr(style, "save", save)
    succeed(*SEARCH, "--save", "found", "--iterations", 2)
    of = ["--dataset", "digits", "--prune-fname", "found"]
    succeed("plot_filters.py", *of)
    assert [title.split(",")[0] for title, *_ in titles] == [
        "iteration 1 (--descent-idx 0)",
        "iteration 2 (--descent-idx 1)",
    ]
    titles.clear()
    succeed("list_architecture.py", *of, "--ratios", 0.25, "--plot")
    _, label, ticks = titles[0]
    assert label == "iteration (--descent-idx + 1)" and {"1", "2"} <= set(ticks)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("iteration 3 (--descent-idx 2), epoch 4: loss 1.0, accuracy 9.00 %", (2, 5)),
        ("iteration 2, epoch 4: loss 1.0", (2, 5)),  # an earlier version's
        ("iteration 1 of 1, epoch 4: loss 1.0", (0, 5)),
        ("x_0@25, epoch 4: loss 1.0", (0, 5)),
    ],
)
def test_a_log_tells_iteration_and_epoch(line, expected, tmp_path):
    (tmp_path / "log").write_text(f"{line}\n")
    found = read_log_tail(tmp_path / "log")
    assert found and (found.iteration, found.epoch) == expected


@pytest.mark.parametrize(
    "script",
    [
        "architecture_descent.py",
        "list_architecture.py",
        "plot_filters.py",
        "plot_ratio.py",
        "check_model.py",
        "plot_ratio_warmup.py",
        "plot_ratio_finetune.py",
        "ratio_swipe.py",
        "export.py",
        "submit.py",
    ],
)
def test_all_scripts_have_one_default_data_set(script):
    assert "(default: CIFAR10)" in succeed(script, "--help")
