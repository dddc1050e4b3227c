"""Runs of the user's own in pictures: which are found, what of the published curves is beside them,
scales, colours, titles."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from pictures import lines_of, parts, table
from results import write_result
from running import DIGITS, REPOSITORY, assert_refused, call, succeed

from utils.figures import residual, style
from utils.figures.curves import Curve, Point
from utils.figures.drawing import frame_of, within
from utils.figures.gaps import reference_of
from utils.figures.labels import kind_of, label_of
from utils.figures.looks import look_of, looks_of
from utils.settings import Places

MODULE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.Linear(24, num_classes)

    def forward(self, x):
        return self.head(self.norm(self.stem(x)).relu().mean((2, 3)))
"""


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    saved, save = [], style.save
    monkeypatch.setattr(style, "save", lambda fig, path: (saved.append(fig), save(fig, path)))
    return saved


# --- which are found ------------------------------------------------------------------------------


def test_every_run_of_this_model_and_data_set_is_found_whatever_its_name():
    for seed in (0, 1):
        write_result(f"plain_{seed}", 50.0 + seed, seed=seed)
        write_result(
            f"own_morph_{seed}",
            60.0 + seed,
            seed=seed,
            method="morphnet",
            origin={"search": "morphed", "iteration": 0},
        )
    write_result(
        "published_widths", 70.0, method="morphnet", origin={"search": "published", "iteration": 0}
    )
    write_result(
        "law_3",
        80.0,
        method="neuralscale_15",
        origin={"search": "published", "iteration": 14},
        seed=3,
    )
    write_result("later_4", 81.0, method="neuralscale_2", seed=4)
    write_result("template", 90.0, method="base")  # what another method starts from
    write_result("elsewhere_0", 91.0, dataset="CIFAR10")
    Path("saved_plots/vgg/notes_1.json").write_text("[1, 2]")
    for extra in ([], ["--front"]):
        out = succeed("plot_ratio.py", "--dataset", "digits", *extra)
        curves = table(parts(out)[0] if extra else out)
        assert {label: (at[0.25]["mean"], at[0.25]["n"]) for label, at in curves.items()} == {
            "uniform": ("50.50", "2"),
            "MorphNet (Taylor-FO), own search": ("60.50", "2"),
            "MorphNet (Taylor-FO)": ("70.00", "1"),
            "NeuralScale, iteration 15 (published law)": ("80.00", "1"),
            "NeuralScale, iteration 2": ("81.00", "1"),
        }
    assert next(iter(lines_of("saved_plots/vgg/digits_accuracy_params.png")[0])) == "uniform"
    assert list(table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=plain"))) == [
        "mine"
    ]


def test_runs_of_one_name_that_are_no_seeds_of_one_curve_are_curves_of_their_own():
    for number, epochs in enumerate((3, 5)):
        write_result(
            f"try_{number}", 50.0 + number, seed=number, settings={"seed": number, "epochs": epochs}
        )
    curves = table(succeed("plot_ratio.py", "--dataset", "digits"))
    assert {label: at[0.25]["mean"] for label, at in curves.items()} == {
        "uniform (try_0)": "50.00",
        "uniform (try_1)": "51.00",
    }


def test_a_run_that_can_not_be_drawn_is_no_obstacle_to_others_but_one_of_a_default_name_is_refused():
    write_result("fine_0", 50.0)
    other = write_result("torn_0", 60.0)
    other.write_bytes(other.read_bytes()[:100])
    wrong = write_result("wrong_0", 60.0)
    wrong.write_text(json.dumps({**json.loads(wrong.read_text()), "best": 61.0}))
    out = succeed("plot_ratio.py", "--dataset", "digits")
    assert (
        list(table(out)) == ["uniform"]
        and f"left out: {other}" in out
        and f"left out: {wrong}" in out
    )
    default = write_result("vgg_uni_digits_0", 60.0)
    default.write_bytes(default.read_bytes()[:100])
    assert_refused(call("plot_ratio.py", "--dataset", "digits"), default)


def test_each_script_finds_what_it_compares():
    write_result("own_uniform", 50.0, dataset="CIFAR10", ratio=0.75)
    write_result("own_magnitude", 51.0, dataset="CIFAR10", ratio=0.75, method="magnitude")
    write_result("own_convcut", 52.0, dataset="CIFAR10", ratio=0.75, method="convcut", convcut=True)
    write_result("own_law", 53.0, dataset="CIFAR10", ratio=0.75, method="neuralscale_3")

    def own(script: str, *options: str) -> set[str]:
        return {
            label
            for label in table(succeed(script, "--dataset", "CIFAR10", *options))
            if not label.endswith("published")
        }

    convcut = "uniform, convolution in every shortcut"
    assert own("plot_ratio.py") == {
        "uniform",
        "magnitude pruning, fine-tuned",
        convcut,
        "NeuralScale, iteration 3",
    }
    assert own("plot_ratio_finetune.py") == {
        "uniform",
        "magnitude pruning, fine-tuned",
        "NeuralScale, iteration 3",
    }
    assert own("plot_ratio_warmup.py", "--convcut") == {"uniform", convcut} and own(
        "plot_ratio_warmup.py"
    ) == {"uniform"}


def test_very_many_curves_are_drawn_and_a_line_says_how_to_choose():
    for number in range(13):
        write_result(f"{'abcdefghijklm'[number]}_0", 50.0 + number, ratio=0.25 + number / 100)
    out = succeed("plot_ratio.py", "--dataset", "digits")
    assert (
        "(13 curves of your own are many for one picture" in out
        and len(lines_of("saved_plots/vgg/digits_accuracy_params.png")[0]) == 13
    )


def test_runs_are_held_against_uniform_ones_that_were_trained_alike():
    def trained(name: str, method: str, epochs: int, best: float) -> Path:
        return write_result(name, best, method=method, settings={"seed": 0, "epochs": epochs})

    trained("a_0", "uniform", 300, 90.0)
    trained("b_0", "uniform", 10, 50.0)
    trained("c_0", "neuralscale_15", 10, 52.0)
    trained("d_0", "neuralscale_1", 300, 91.0)
    out = succeed("plot_ratio.py", "--dataset", "digits")
    assert [table(out)[f"NeuralScale, iteration {number}"][0.25]["gap"] for number in (15, 1)] == [
        "+2.00",
        "+1.00",
    ]
    assert "no uniform runs of yours have" not in out
    trained("e_0", "morphnet", 20, 60.0)
    assert "their gap says little: MorphNet (Taylor-FO))" in succeed(
        "plot_ratio.py", "--dataset", "digits"
    )


# --- scales ---------------------------------------------------------------------------------------


def curve(label: str, published: bool, *points: tuple[int, float]) -> Curve:
    return Curve(
        label,
        "uniform",
        published,
        points={size: Point((), size, size, [mean]) for size, mean in points},
    )


def test_the_picture_is_scaled_to_the_users_runs(capsys):
    own = curve("own", False, (100, 50.0), (400, 60.0))
    through, beside = (
        curve("through", True, (50, 45.0), (1000, 65.0)),
        curve("beside", True, (1000, 50.0), (2000, 60.0)),
    )
    above = curve("above", True, (100, 90.0), (400, 95.0))
    shown, frame = within([through, beside, above, own], "params")
    assert [one.label for one in shown] == ["through", "own"]
    assert (
        50 < frame.low < 100
        and 400 < frame.high < 1000
        and 40 < frame.bottom < 50
        and 60 < frame.top < 70
    )
    assert (
        capsys.readouterr().out
        == "(the picture is scaled to your runs; outside of it: beside; above)\n"
    )
    everything = frame_of([through, beside], "params")
    assert everything.low < 50 and everything.high > 2000
    assert (
        within([through, beside], "params") == ([through, beside], everything)
        and capsys.readouterr().out == ""
    )
    alone = frame_of([curve("one", False, (100, 50.0))], "params")
    assert alone.low < 100 < alone.high and alone.bottom < 50 < alone.top


def test_small_runs_beside_the_published_curves_fill_the_picture(figures):
    for ratio, best in ((0.0625, 40.0), (0.125, 50.0)):
        write_result("vgg_uni_c10_0", best, dataset="CIFAR10", ratio=ratio)
        write_result(
            "found_0",
            best + 3,
            dataset="CIFAR10",
            ratio=ratio,
            method="neuralscale_15",
            filters=[8] * 8 if ratio < 0.1 else None,
        )
    out = succeed("plot_ratio.py", "--dataset", "CIFAR10")
    assert "outside of it: uniform, published; MorphNet" in out and "uniform, published" in table(
        out
    )
    succeed("plot_ratio.py", "--dataset", "CIFAR10", "--front")
    for fig, axis in zip(figures, ("params", "macs")):
        low, high = fig.axes[0].get_xlim()
        sizes = [
            json.loads(path.read_text())[axis] for path in Path("saved_plots/vgg").glob("*.json")
        ]
        assert low < min(sizes) and max(sizes) < high and high / low < 2 * max(sizes) / min(sizes)
        assert all("published" not in text.get_text() for text in fig.legends[0].get_texts())


@pytest.mark.parametrize(
    "low, high, scale",
    [(100, 790, "linear"), (100, 810, "log"), (6e5, 3.7e7, "log"), (2e6, 4e6, "linear")],
)
def test_an_axis_is_logarithmic_where_its_numbers_are_far_apart(low, high, scale):
    fig, axes = style.figure()
    axes.plot([low, high], [0, 1])
    style.scale_x(axes, low, high, "parameters")
    fig.canvas.draw()
    assert axes.get_xscale() == scale
    assert axes.get_xlabel() == (
        "parameters (millions)" if high > 1e6 else "parameters (thousands)"
    )
    style.plt.close(fig)


# --- colours and titles ---------------------------------------------------------------------------

METHODS = ("uniform", "convcut", "morphnet", "magnitude", "neuralscale_1", "neuralscale_15")


def test_each_method_has_a_colour_of_its_own_in_every_picture(figures):
    expected = {label_of(method): look_of(method).colour for method in METHODS}
    assert len(set(expected.values())) == len(METHODS) and expected["uniform"] == "#000000"
    for options in ([], ["--axis", "macs"], ["--front"]):
        succeed("plot_ratio.py", "--model", "resnet18", "--dataset", "tinyimagenet", *options)
    succeed("plot_ratio_warmup.py", "--model", "resnet18", "--dataset", "tinyimagenet", "--convcut")
    write_result("found_0", 88.0, dataset="CIFAR10", method="neuralscale_15")
    succeed("plot_ratio.py", "--dataset", "CIFAR10")  # published curves beside one of the user's
    succeed("plot_ratio_warmup.py", "--dataset", "CIFAR10")
    seen = {}
    for fig in figures:
        for line in fig.axes[0].lines:
            seen.setdefault(line.get_label().removesuffix(", published"), set()).add(
                line.get_color()
            )
    assert {label: seen[label] for label in expected} == {
        label: {colour} for label, colour in expected.items()
    }
    assert seen["NeuralScale, P = 10"] == {expected["NeuralScale, iteration 15"]}
    assert len(set.union(*(colours for label, colours in seen.items() if "P = " in label))) == 6


@pytest.mark.skipif(not (REPOSITORY / "saved_plots" / "study").is_dir(), reason="no stored results")
def test_the_studys_pictures_have_the_same_colours(figures, monkeypatch, tmp_path):
    from utils.study.outcomes import Findings
    from utils.study.pictures import draw_accuracy
    from utils.study.plan import study

    monkeypatch.chdir(REPOSITORY)
    part, *_ = study("full", "nowhere")
    places = Places(
        record_dir="prune_record/study",
        plot_dir="saved_plots/study",
        model_dir="saved_models/study",
    )
    draw_accuracy(Findings(part, places), "macs", tmp_path / "study.png")
    colours = {line.get_label(): line.get_color() for line in figures[0].axes[0].lines}
    for label, method, budget in (
        ("uniform", "uniform", "params"),
        ("MorphNet (Taylor-FO)", "morphnet", "params"),
        ("magnitude pruning, twice the epochs", "magnitude", "params"),
        ("NeuralScale by parameters, iteration 1", "neuralscale_1", "params"),
        ("NeuralScale by parameters, iteration 5", "neuralscale_5", "params"),
        ("NeuralScale by MACs, iteration 1", "neuralscale_1", "macs"),
        ("NeuralScale by MACs, iteration 5", "neuralscale_5", "macs"),
    ):
        assert colours[label] == look_of(method, budget).colour, label
    assert figures[0].axes[0].get_title() == "vgg on CIFAR10, 15 epochs"


def test_published_curves_beside_the_users_are_dotted_and_hollow():
    published, own = curve("published", True), curve("own", False)
    alone, beside = looks_of([published]), looks_of([published, own])
    assert alone[0].filled and alone[0].dash == beside[1].dash == "-" and beside[1].filled
    assert not beside[0].filled and beside[0].dash == ":" and beside[0].colour == beside[1].colour


def test_pictures_are_called_by_the_networks_file_not_its_folder(figures):
    Path("some/where").mkdir(parents=True)
    Path("some/where/net.py").write_text(MODULE)
    model = ["--model", "some/where/net.py:Net"]
    succeed(
        "ratio_swipe.py",
        *model,
        *DIGITS,
        "--save",
        "a_0",
        "--uniform",
        "--ratios",
        0.5,
        "--epochs",
        1,
    )
    succeed(
        "architecture_descent.py",
        *model,
        *DIGITS,
        "--save",
        "found",
        "--epochs",
        3,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--prune-step",
        1,
        "--iterations",
        1,
    )
    for command in (
        ["plot_ratio.py"],
        ["plot_ratio.py", "--front"],
        ["plot_filters.py", "--prune-fname", "found"],
        ["list_architecture.py", "--prune-fname", "found", "--ratios", 1, "--plot"],
    ):
        succeed(*command, *model, "--dataset", "digits")
    titles = [fig.get_suptitle() or fig.axes[0].get_title() for fig in figures]
    assert len(titles) == 4 and all(title.startswith("net.py:Net on digits") for title in titles)


def test_long_names_are_wrapped(figures):
    write_result(f"{'very_' * 30}long_0", 50.0)
    write_result(f"{'rather_' * 20}long_0", 50.0)
    succeed("plot_ratio.py", "--dataset", "digits")
    [fig] = figures
    fig.canvas.draw()
    [legend] = fig.legends
    assert legend.get_window_extent().width <= fig.bbox.width


# --- residual filters -----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 8, 9, 19, 50, 64, 200])
def test_few_layers_share_a_panel_and_none_a_colour(layers):
    panels = residual.panels_of(layers)
    shown = [layer for panel in panels for layer in panel]
    assert len(panels) <= residual.PANELS and max(map(len, panels)) <= residual.TOGETHER == len(
        set(residual.COLOURS)
    )
    assert shown == (list(range(layers)) if layers <= 64 else sorted(set(shown))) and (
        shown[0],
        shown[-1],
    ) == (0, layers - 1)


def test_a_network_of_one_width_has_its_residual_filters_drawn(figures):
    Path("net.py").write_text(MODULE)
    model = ["--model", "net.py:Net"]
    succeed(
        "architecture_descent.py",
        *model,
        *DIGITS,
        "--save",
        "found",
        "--epochs",
        3,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--prune-step",
        1,
        "--iterations",
        2,
    )
    succeed("plot_filters.py", *model, "--dataset", "digits", "--prune-fname", "found")
    first, last = figures[0].axes
    # behind it: that no law was fitted
    titles = [axes.get_title().partition(",")[0] for axes in (first, last)]
    assert titles == ["iteration 1 (--descent-idx 0)", "iteration 2 (--descent-idx 1)"]
    rows = np.loadtxt("prune_record/found_0.csv", delimiter=",", ndmin=1)
    assert first.lines[0].get_ydata() == pytest.approx(rows)


@pytest.mark.skipif(
    not (REPOSITORY / "prune_record" / "study").is_dir(), reason="no stored searches"
)
def test_every_layer_of_a_deep_network_can_be_told_apart(figures, monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    succeed(
        "plot_filters.py",
        "--model",
        "mobilenetv2",
        "--dataset",
        "CIFAR100",
        "--prune-fname",
        "mobilenetv2_c100_macs_s0",
        "--record-dir",
        "prune_record/study",
        "--plot-dir",
        tmp_path,
    )
    seen = []
    for axes in figures[0].axes[::2]:
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert (
            len({line.get_color() for line in lines})
            == len({line.get_marker() for line in lines})
            == len(lines)
        )
        seen += [line.get_label() for line in lines]
    assert seen == [str(layer) for layer in range(1, 20)]


def test_kinds_and_references():
    assert [kind_of(method) for method in ("neuralscale_15+convcut", "uniform", "warmup_30")] == [
        "neuralscale",
        "uniform",
        "warmup",
    ]
    own, published = curve("own", False, (1, 1.0)), curve("published", True, (1, 1.0))
    assert reference_of(Curve("x", "morphnet", False), [published]) is published
    assert reference_of(Curve("x", "morphnet", False), [published, own]) is own
    assert reference_of(Curve("x", "morphnet", True), [own]) is None
