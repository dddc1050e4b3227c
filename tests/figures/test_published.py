"""The comparison: the published figures come out of the table, and the user's runs are found, read
and refused."""

import json
import pickle
import re
import sys

import numpy as np
import pytest
from paper import HEADLINES

from model import count_params, uniform_filters
from utils.errors import UserError
from utils.figures import curves
from utils.records.legacy import read_test_accuracy
from utils.settings import DATASETS


def plot(monkeypatch, capsys, script: str, *args: str) -> str:
    """What a plotting script prints, run in this process."""
    import importlib

    monkeypatch.setattr(sys, "argv", [f"{script}.py", *args])
    importlib.import_module(script).main()
    return capsys.readouterr().out


def subject(tmp_path, model="vgg", dataset="CIFAR10") -> curves.Subject:
    return curves.subject_of(model, dataset, str(tmp_path))


def result(
    tmp_path,
    name: str,
    best: float,
    *,
    ratio: float = 0.25,
    model: str = "vgg",
    dataset: str = "CIFAR10",
    filters=None,
    method: str = "uniform",
    seed: int = 0,
) -> None:
    filters = filters or uniform_filters(model, ratio)
    folder = tmp_path / model
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(
        json.dumps(
            {
                "model": model,
                "dataset": dataset,
                "num_classes": 10,
                "image_size": 32,
                "method": method,
                "ratio": ratio,
                "seed": seed,
                "convcut": False,
                "filters": filters,
                "params": count_params(model, filters),
                "macs": 1,
                "settings": {},
                "test_acc": [best - 1, best],
                "best": best,
                "last": best,
            }
        )
    )


@pytest.mark.parametrize(
    ("pair", "figures"), HEADLINES.items(), ids=["_".join(pair) for pair in HEADLINES]
)
def test_the_published_means_and_gaps_come_out_of_the_table(
    monkeypatch, capsys, tmp_path, pair, figures
):
    out = plot(
        monkeypatch,
        capsys,
        "plot_ratio",
        "--model",
        pair[0],
        "--dataset",
        pair[1],
        "--out",
        str(tmp_path / "x.png"),
    )
    rows = [line.split() for line in out.splitlines() if re.search(r"published +0\.25 ", line)]
    means = [float(row[-4]) for row in rows]
    # the table has two decimals, the mean of five more
    assert np.abs(np.subtract(means, figures[:4])).max() < 0.0101
    assert abs(float(rows[3][-1]) - figures[4]) < 0.0101
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    settings = DATASETS[pair[1]]
    exact = count_params(
        pair[0],
        uniform_filters(pair[0], 0.25),
        num_classes=settings.num_classes,
        image_size=settings.image_size,
    )
    assert f"{exact:,}" in out


def test_the_seeds_of_a_run_are_one_curve_with_their_accuracies(tmp_path):
    for seed, best in enumerate((50.0, 52.0, 57.0)):
        result(tmp_path, f"mine_{seed}_25", best, seed=seed)
    result(tmp_path, "mine_0_50", 60.0, ratio=0.5)
    result(tmp_path, "mine2_0_25", 1.0)  # another name that begins alike
    curve = curves.run_curve(subject(tmp_path), "mine")
    assert {ratio: sorted(point.accuracy) for ratio, point in curve.points.items()} == {
        0.25: [50, 52, 57],
        0.5: [60],
    }
    assert curve.points[0.25].params == 579786


def test_runs_of_another_model_or_data_set_and_different_networks_of_one_name_are_refused(tmp_path):
    result(tmp_path, "a_0_25", 50.0, dataset="CIFAR100")
    with pytest.raises(UserError, match=r"a_0_25\.json.*CIFAR100"):
        curves.run_curve(subject(tmp_path), "a")
    result(tmp_path, "b_0_25", 50.0)
    result(tmp_path, "b_1_25", 50.0, filters=[9] * 8, seed=1)
    with pytest.raises(UserError, match=r"b_1_25\.json.*other filters"):
        curves.run_curve(subject(tmp_path), "b")
    (tmp_path / "vgg" / "c_0_25.json").write_text('{"best": 1')
    with pytest.raises(UserError, match=r"c_0_25\.json"):
        curves.run_curve(subject(tmp_path), "c")


def test_default_names_are_found_and_no_published_leaves_the_published_out(
    monkeypatch, capsys, tmp_path
):
    result(tmp_path, "vgg_uni_c10_0_25", 50.0)
    result(tmp_path, "vgg_10_eff_c10_late_0_25", 53.5, filters=[16] * 8, method="neuralscale_15")
    out = plot(
        monkeypatch,
        capsys,
        "plot_ratio",
        "--dataset",
        "CIFAR10",
        "--no-published",
        "--plot-dir",
        str(tmp_path),
        "--axis",
        "macs",
    )
    lines = out.splitlines()
    assert "published" not in out
    assert [line.split()[-1] for line in lines[2:4]] == ["-", "+3.50"]
    assert list((tmp_path / "vgg").glob("*.png"))


@pytest.mark.parametrize("script", ["plot_ratio_warmup", "plot_ratio_finetune"])
def test_the_other_comparisons_run(monkeypatch, capsys, tmp_path, script):
    out = plot(monkeypatch, capsys, script, "--dataset", "CIFAR10", "--plot-dir", str(tmp_path))
    assert "uniform, published" in out
    if script == "plot_ratio_warmup":
        assert all(f"P = {warmup}, published" in out for warmup in (0, 2, 5, 10, 30, 60))
    else:
        assert "magnitude pruning" in out


def test_the_shortcut_comparison_counts_the_convolutions(monkeypatch, capsys, tmp_path):
    out = plot(
        monkeypatch,
        capsys,
        "plot_ratio_warmup",
        "--model",
        "resnet18",
        "--dataset",
        "tinyimagenet",
        "--convcut",
        "--plot-dir",
        str(tmp_path),
    )
    exact = count_params(
        "resnet18", uniform_filters("resnet18", 1), num_classes=200, image_size=64, convcut=True
    )
    assert f"{exact:,}" in out
    assert exact > 11273736


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "curve",
    [[10.0, 70.5], np.array([10.0, 70.5]), [np.float64(10), np.float64(70.5)]],
    ids=["list", "array", "scalars"],
)
def test_pickled_results_of_the_original_release_are_read(tmp_path, protocol, curve):
    path = tmp_path / "x.pk"
    path.write_bytes(pickle.dumps({"train_loss": [1.0], "test_acc": curve}, protocol))
    assert read_test_accuracy(path) == [10.0, 70.5]


class Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch exploded",)


def test_a_pickle_that_names_code_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pk"
    for content in (
        {"test_acc": Bomb()},
        {"test_acc": [1.0], "more": eval},
        {"test_acc": [float("nan")]},
        [1, 2],
        {"loss": [1.0]},
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=r"x\.pk"):
            read_test_accuracy(path)
    assert not (tmp_path / "exploded").exists()


def test_a_pickled_result_under_a_default_name_becomes_a_point_of_the_right_network(tmp_path):
    (tmp_path / "vgg").mkdir()
    (tmp_path / "vgg" / "vgg_uni_c10_0_25.pk").write_bytes(pickle.dumps({"test_acc": [80.0, 88.0]}))
    curve = curves.run_curve(
        subject(tmp_path), "vgg_uni_c10", known=curves.CurveSpec("uniform", "vgg_uni_c10")
    )
    assert curve.points[0.25].accuracy == [88.0]
    assert curve.points[0.25].params == 579786
