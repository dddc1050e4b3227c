"""What a figure says: the gap to uniform at equal size, curves of runs that can be compared, their
labels, the README's pictures."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from paper import HEADLINES, pairs, published_best, told
from pictures import drawn, lines_of, table
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from results import shape_of, write_result
from running import REPOSITORY, assert_refused, call, snapshot, succeed

from model import count_macs, count_params, prepare_filters, uniform_filters
from utils.figures import style
from utils.figures.curves import Curve, Point, subject_of
from utils.figures.gaps import gaps
from utils.figures.gather import gather
from utils.figures.labels import CurveSpec, label_of
from utils.figures.looks import looks_of
from utils.powerlaw import PowerLaw
from utils.records.published import read_published_scaling

# the published runs at ratio 0.25, in points: NeuralScale after iteration 1, after iteration 15
AT_EQUAL_MACS = {
    ("vgg", "CIFAR10"): (0.2, 0.0),
    ("vgg", "CIFAR100"): (0.4, -0.4),
    ("resnet18", "CIFAR100"): (-0.4, -1.8),
    ("resnet18", "tinyimagenet"): (-1.7, -0.5),
    ("mobilenetv2", "CIFAR100"): (-0.1, -2.1),
    ("mobilenetv2", "tinyimagenet"): (-3.3, -7.1),
}


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def unpainted(monkeypatch):
    """Pictures are their numbers, which are known before anything is painted. To undo it has them
    painted too."""

    def write(fig, path, *, format, metadata):
        about = PngInfo()
        about.add_text("Description", metadata["Description"])
        Image.new("L", (1, 1)).save(path, format=format, pnginfo=about)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", write)
        yield patch


# --- the gap --------------------------------------------------------------------------------------


@pairs
def test_the_gap_at_equal_macs_is_that_of_the_curves_in_table_and_picture(model, dataset):
    curves = table(
        succeed(
            "plot_ratio.py",
            "--model",
            model,
            "--dataset",
            dataset,
            "--axis",
            "macs",
            "--out",
            "macs.png",
        )
    )
    shown = [float(curves[f"NeuralScale, iteration {i}, published"][0.25]["gap"]) for i in (1, 15)]
    assert np.abs(np.subtract(shown, AT_EQUAL_MACS[model, dataset])).max() < 0.0501
    accuracy, gap = lines_of("macs.png")
    uniform = accuracy["uniform, published"]
    x, means = np.log(list(uniform)), list(uniform.values())
    for label, points in accuracy.items():
        inside = {
            macs: mean - np.interp(math.log(macs), x, means)
            for macs, mean in points.items()
            if macs <= max(uniform)
        }
        assert gap[f"gap of {label}"] == pytest.approx(inside, abs=1e-3)
        if label != "uniform, published":
            printed = [at["gap"] for at in curves[label].values()]
            assert [float(at) for at in printed if at != "-"] == pytest.approx(
                list(inside.values()), abs=0.006
            )
            assert printed.count("-") == len(points) - len(inside)


@told
def test_the_papers_figures_are_those_of_one_ratio_and_stand_in_the_table_at_equal_parameters(
    model, dataset
):
    best = [
        np.mean(published_best(model, dataset, method, 0.25))
        for method in ("uniform", "neuralscale_15")
    ]
    assert best[1] - best[0] == pytest.approx(HEADLINES[model, dataset][-1], abs=0.011)
    out = succeed("plot_ratio.py", "--model", model, "--dataset", dataset)
    assert (
        table(out)["NeuralScale, iteration 15, published"][0.25]["gap"]
        == f"{HEADLINES[model, dataset][-1]:+.2f}"
    )
    assert "gap: to uniform's mean at equal parameters" in out


def curve_at(x: dict[float, int], accuracy: dict[float, list[float]]) -> Curve:
    return Curve(
        "", "", False, points={ratio: Point((), 1, x[ratio], accuracy[ratio]) for ratio in x}
    )


def test_the_gap_is_interpolated_in_the_logarithm_and_ends_with_uniforms_range():
    uniform = curve_at({1: 100, 2: 10_000}, {1: [50, 52], 2: [70, 72]})
    x = {0.1: 98, 0.2: 99.5, 0.3: 100, 0.4: 1000, 0.5: 10_000, 0.6: 10_090, 0.7: 10_200}
    found = gaps(curve_at(x, {ratio: [60, 64] for ratio in x}), uniform, "macs")
    assert {ratio: gap.mean for ratio, gap in found.items()} == pytest.approx(
        {0.2: 11, 0.3: 11, 0.4: 1, 0.5: -9, 0.6: -9}
    )
    assert found[0.4] == pytest.approx((1, -1, 3))  # mean, lowest, highest


def test_the_users_runs_are_compared_with_the_users_uniform_runs_else_with_the_published():
    shape = shape_of("CIFAR10")
    published = table(succeed("plot_ratio.py", "--dataset", "CIFAR10"))["uniform, published"]
    filters = uniform_filters("vgg", 0.6)
    write_result(
        "wide_0", 95.0, dataset="CIFAR10", ratio=0.6, filters=filters, method="neuralscale_15"
    )
    out = succeed("plot_ratio.py", "--dataset", "CIFAR10", "--runs", "mine=wide", "--axis", "macs")
    x = np.log([count_macs("vgg", uniform_filters("vgg", ratio), **shape) for ratio in published])
    level = np.interp(
        math.log(count_macs("vgg", filters, **shape)),
        x,
        [float(at["mean"]) for at in published.values()],
    )
    assert float(table(out)["mine"][0.6]["gap"]) == pytest.approx(95 - level, abs=0.006)
    assert "published uniform" in out
    for ratio, best in ((0.5, 80.0), (0.75, 90.0)):
        write_result("uni_0", best, dataset="CIFAR10", ratio=ratio)
    out = succeed(
        "plot_ratio.py",
        "--dataset",
        "CIFAR10",
        "--runs",
        "mine=wide",
        "plain=uni",
        "--axis",
        "macs",
    )
    x = np.log([count_macs("vgg", uniform_filters("vgg", ratio), **shape) for ratio in (0.5, 0.75)])
    level = np.interp(math.log(count_macs("vgg", filters, **shape)), x, [80, 90])
    assert float(table(out)["mine"][0.6]["gap"]) == pytest.approx(95 - level, abs=0.006)
    assert "published uniform" not in out


@pytest.mark.parametrize(
    "axis, words",
    [("params", "equal parameters"), ("macs", "equal MACs"), ("latency", "equal latency")],
)
def test_the_magnitude_table_takes_its_gap_on_the_axis_too(axis, words):
    write_result("small_0", 50.0, ratio=0.0625)
    write_result("small_1", 52.0, ratio=0.0625, seed=1)
    write_result("kept_0", 60.0, ratio=0.0625, method="magnitude")
    out = succeed(
        "plot_ratio_finetune.py",
        "--dataset",
        "digits",
        "--runs",
        "a=small",
        "b=kept",
        "--ratio",
        0.0625,
        "--axis",
        axis,
        "--device",
        "cpu",
    )
    assert (
        words in out
        and table(out)["b"][0.0625]["gap"] == "+9.00"
        and ("ms" in table(out)["b"][0.0625]) == (axis == "latency")
    )


# --- curves of what can be compared ---------------------------------------------------------------

MIXED = {
    "a seed twice": {"name": "w_7", "seed": 0},
    "a seed twice, without a number": {"name": "w", "seed": 0},
    "other epochs": {"settings": {"seed": 1, "epochs": 3}},
    "other epochs at another ratio": {"settings": {"seed": 1, "epochs": 3}, "ratio": 0.5},
    "other images": {"images": 100},
    "other test images": {"test_images": 100},
    "a convolution in every shortcut": {"convcut": True},
    "another method": {"method": "neuralscale_15"},
    "other filters": {"filters": [20] * 8},
    "another image size": {"image_size": 64},
}


@pytest.mark.parametrize("how", MIXED)
def test_runs_that_differ_in_more_than_the_seed_are_no_curve(how):
    usual = {"seed": 1, "settings": {"seed": 1, "epochs": 1}, "images": 1437, "test_images": 360}
    first = write_result("w_0", 50.0, **{**usual, "seed": 0, "settings": {"seed": 0, "epochs": 1}})
    assert write_result("w_1", 52.0, **usual)
    assert (
        table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"))["mine"][0.25][
            "n"
        ]
        == "2"
    )
    name = MIXED[how].get("name", "w_2")
    other = write_result(
        name,
        54.0,
        **{
            **usual,
            "seed": 2,
            **{key: value for key, value in MIXED[how].items() if key != "name"},
        },
    )
    before = snapshot(".")
    assert_refused(
        call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"), first.name, other.name
    )
    assert snapshot(".") == before


def test_a_result_of_an_earlier_version_that_says_less_is_still_a_seed():
    write_result("w_0", 50.0, settings={"seed": 0})
    write_result("w_1", 52.0, seed=1, settings={"seed": 1, "epochs": 3}, images=100)
    assert (
        table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"))["mine"][0.25][
            "n"
        ]
        == "2"
    )
    write_result("w_2", 52.0, seed=2, settings={"seed": 2, "epochs": 4}, images=100)
    assert_refused(
        call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=w"),
        "w_1_25.json",
        "w_2_25.json",
        "epochs",
    )


# --- labels ---------------------------------------------------------------------------------------


def test_a_curve_is_called_what_its_results_say():
    write_result("vgg_10_eff_c10_early_0", 51.0, dataset="CIFAR10", method="neuralscale_15")
    write_result("vgg_10_eff_c10_late_0", 52.0, dataset="CIFAR10", method="neuralscale_5")
    write_result("vgg_uni_c10_0", 53.0, dataset="CIFAR10", method="convcut", convcut=True)
    curves = table(
        succeed("plot_ratio.py", "--model", "vgg", "--dataset", "CIFAR10", "--no-published")
    )
    assert {label: points[0.25]["mean"] for label, points in curves.items()} == {
        "NeuralScale, iteration 15": "51.00",
        "NeuralScale, iteration 5": "52.00",
        "uniform, convolution in every shortcut": "53.00",
    }


def test_two_curves_of_one_method_are_told_apart_by_their_names():
    write_result("vgg_10_eff_digits_early_0", 51.0, method="neuralscale_3")
    write_result("vgg_10_eff_digits_late_0", 52.0, method="neuralscale_3")
    labels = {
        curve.label
        for curve in gather(
            subject_of("vgg", "digits"),
            [
                CurveSpec("neuralscale_1", "vgg_10_eff_digits_early"),
                CurveSpec("neuralscale_15", "vgg_10_eff_digits_late"),
            ],
        )
    }
    assert labels == {
        f"NeuralScale, iteration 3 (vgg_10_eff_digits_{when})" for when in ("early", "late")
    }


@pytest.mark.parametrize(
    "method, warmup, label",
    [
        ("neuralscale_15", None, "NeuralScale, iteration 15"),
        ("neuralscale_5", None, "NeuralScale, iteration 5"),
        ("neuralscale_15", 10, "NeuralScale, P = 10"),
        ("neuralscale_5", 30, "NeuralScale, P = 30, iteration 5"),
        ("neuralscale_15", 0, "NeuralScale, P = 0"),
        ("warmup_30", 30, "NeuralScale, P = 30"),
        ("uniform", 30, "uniform"),
        ("neuralscale_1+convcut", None, "NeuralScale, iteration 1, convolution in every shortcut"),
        ("unheard of", None, "unheard of"),
    ],
)
def test_labels(method, warmup, label):
    assert label_of(method, warmup) == label


# --- the documentation's pictures -----------------------------------------------------------------


def command_of(picture: str) -> list[str]:
    """The command of `make figures` that draws images/<picture>."""
    model, dataset, kind = picture.removesuffix(".png").split("_")
    script = {
        "accuracy": ["plot_ratio.py"],
        "macs": ["plot_ratio.py", "--axis", "macs"],
        "front": ["plot_ratio.py", "--front"],
        "warmup": ["plot_ratio_warmup.py"],
        "convcut": ["plot_ratio_warmup.py", "--convcut"],
        "architectures": ["list_architecture.py", "--prune-fname", "published", "--plot"],
    }[kind]
    return [*script, "--model", model, "--dataset", dataset, "--out", picture]


PUBLISHED = sorted(
    path.name
    for path in (REPOSITORY / "images").glob("*.png")
    if not path.name.startswith("study_")
)


def alike(one, other) -> bool:
    """Whether two nested lists and dictionaries are the same, numbers to five digits: another numpy
    rounds the last ones in another way."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return one == pytest.approx(other, rel=1e-5, abs=1e-4)
    return one == other


def test_numbers_that_differ_in_the_last_digits_are_alike():
    assert alike({"a": [1.0, [2.0]]}, {"a": [1.0000001, [2.0]]}) and not alike([1.0], [1.1])
    assert not alike([1.0], [1.0, 2.0]) and not alike({"a": 1}, {"b": 1}) and not alike("a", "b")


PAINTED = {picture.rpartition("_")[2]: picture for picture in PUBLISHED}  # one of each kind


@pytest.mark.parametrize("picture", PUBLISHED)
def test_the_documented_pictures_show_what_is_drawn_today(picture, unpainted):
    if picture in PAINTED.values():
        unpainted.undo()
    succeed(*command_of(picture))
    assert (Image.open(picture).width > 100) == (picture in PAINTED.values())
    assert alike(drawn(REPOSITORY / "images" / picture), drawn(picture))
    assert picture in (REPOSITORY / "docs" / "published.md").read_text()


@pairs
def test_the_documented_pictures_show_the_published_figures(model, dataset):
    accuracy, gap = lines_of(REPOSITORY / "images" / f"{model}_{dataset}_accuracy.png")
    shape, laws = shape_of(dataset), read_published_scaling(model, dataset)["iterations"]
    ratios = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2][: len(accuracy["uniform, published"])]
    for method, label in (
        ("uniform", "uniform"),
        *((f"neuralscale_{i}", f"NeuralScale, iteration {i}") for i in (1, 15)),
    ):
        law = laws[int(method[12:] or 1) - 1]
        scaling = None if method == "uniform" else PowerLaw(law["alpha"], law["beta"])
        params = [
            count_params(model, prepare_filters(model, ratio, scaling=scaling, **shape), **shape)
            for ratio in ratios
        ]
        means = [np.mean(published_best(model, dataset, method, ratio)) for ratio in ratios]
        assert list(accuracy[f"{label}, published"]) == pytest.approx(params, rel=1e-5)
        assert list(accuracy[f"{label}, published"].values()) == pytest.approx(means, abs=0.0051)
        assert len(gap[f"gap of {label}, published"]) == len(ratios)


@pytest.mark.parametrize("low, high", [(3, 9), (0.004, 0.3), (20, 4000)])
def test_numbers_on_logarithmic_axes_are_plain(low, high):
    """Names may have a $, so a $ is not read as mathematics: no label may need that. Less than a
    decade has labels too."""
    fig, axes = style.figure()
    axes.plot([low, high], [low, high])
    for which in "xy":
        style.plain_log(axes, which)
    fig.canvas.draw()
    labels = [
        label.get_text()
        for axis in (axes.xaxis, axes.yaxis)
        for label in [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
    ]
    assert (
        not any("$" in label for label in labels)
        and sum(low <= float(label) <= high for label in labels if label) >= 4
    )
    style.plt.close(fig)


@pytest.mark.parametrize("method", ["uniform", "neuralscale_15"])
def test_no_two_of_a_dozen_curves_of_one_method_look_alike(method):
    looks = looks_of([Curve(str(number), method, False) for number in range(12)])
    assert len(set(looks)) == 12 and len({look.colour for look in looks}) == 1
