"""The plotting scripts: the published figures come out of their table, the user's runs are found,
pictures are drawn."""

import json
import os
import pickle
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from paper import HEADLINES, PARAMETERS, pairs, published_best
from pictures import assert_is_a_picture, table
from results import shape_of, write_result
from running import DIGITS, assert_refused, call, snapshot, succeed

from model import count_macs, count_params, prepare_filters, template, uniform_filters
from utils.powerlaw import PowerLaw
from utils.records.legacy import read_test_accuracy
from utils.records.published import read_published_scaling
from utils.records.results import read_result

LABELS = {
    "uniform": "uniform",
    "morphnet": "MorphNet (Taylor-FO)",
    "neuralscale_1": "NeuralScale, iteration 1",
    "neuralscale_15": "NeuralScale, iteration 15",
}


def whole(cell: str) -> int:
    return int(cell.replace(",", ""))


pytestmark = pytest.mark.usefixtures("here")


# --- published ------------------------------------------------------------------------------------


@pairs
def test_the_published_curves_are_printed_and_drawn(model, dataset):
    out = succeed("plot_ratio.py", "--model", model, "--dataset", dataset)
    curves = table(out)
    for (_method, label), mean in zip(LABELS.items(), HEADLINES[model, dataset]):
        at = curves[f"{label}, published"][0.25]
        assert abs(float(at["mean"]) - mean) < 0.01 + 1e-9 and at["n"] == "5"
    uniform = curves["uniform, published"]
    assert [whole(at["parameters"]) for at in uniform.values()] == PARAMETERS[model, dataset]
    for ratio, at in uniform.items():
        assert whole(at["parameters"]) == count_params(
            model, uniform_filters(model, ratio), **shape_of(dataset)
        )
        for label in LABELS.values():
            assert whole(curves[f"{label}, published"][ratio]["parameters"]) <= whole(
                at["parameters"]
            )
    gap = curves["NeuralScale, iteration 15, published"][0.25]["gap"]
    assert float(gap) == pytest.approx(HEADLINES[model, dataset][-1], abs=0.0101)
    for method, label in LABELS.items():
        for ratio, at in curves[f"{label}, published"].items():
            best = published_best(model, dataset, method, ratio)
            assert (at["n"], at["mean"]) == (str(len(best)), f"{np.mean(best):.2f}")
            assert abs(float(at["std"]) - statistics.stdev(best)) < 0.006
            # to uniform at these parameters, which are the budget's but for a few
            if method != "uniform":
                x, means = (
                    np.log([whole(u["parameters"]) for u in uniform.values()]),
                    [float(u["mean"]) for u in uniform.values()],
                )
                assert (
                    abs(
                        float(at["gap"])
                        - (np.mean(best) - np.interp(np.log(whole(at["parameters"])), x, means))
                    )
                    < 0.011
                )
                assert (
                    abs(
                        float(at["gap"])
                        - (
                            np.mean(best)
                            - np.mean(published_best(model, dataset, "uniform", ratio))
                        )
                    )
                    < 0.03
                )
    assert_is_a_picture(Path("saved_plots") / model / f"{dataset}_accuracy_params.png")


def test_macs_on_the_axis_are_those_of_the_networks():
    curves = table(
        succeed(
            "plot_ratio.py",
            "--model",
            "mobilenetv2",
            "--dataset",
            "CIFAR100",
            "--axis",
            "macs",
            "--out",
            "here/macs.png",
        )
    )
    law = read_published_scaling("mobilenetv2", "CIFAR100")["iterations"][14]
    filters = prepare_filters(
        "mobilenetv2", 0.25, num_classes=100, scaling=PowerLaw(law["alpha"], law["beta"])
    )
    shown = curves["NeuralScale, iteration 15, published"][0.25]
    assert shown["MMACs"] == f"{count_macs('mobilenetv2', filters, num_classes=100) / 1e6:.1f}"
    # equal parameters is not equal compute
    assert float(shown["MMACs"]) > 2.8 * float(curves["uniform, published"][0.25]["MMACs"])
    assert_is_a_picture(Path("here/macs.png"))


def test_warm_up_lengths_are_compared():
    curves = table(succeed("plot_ratio_warmup.py", "--model", "vgg", "--dataset", "CIFAR10"))
    assert set(curves) == {
        "uniform, published",
        *(f"NeuralScale, P = {p}, published" for p in (0, 2, 5, 10, 30, 60)),
    }
    for warmup in (0, 2, 5, 10, 30, 60):
        method = "neuralscale_15" if warmup == 10 else f"warmup_{warmup}"
        mean = np.mean(published_best("vgg", "CIFAR10", method, 0.5))
        assert curves[f"NeuralScale, P = {warmup}, published"][0.5]["mean"] == f"{mean:.2f}"
    assert_is_a_picture(Path("saved_plots/vgg/CIFAR10_warmup_params.png"))


@pytest.mark.parametrize("model", ["resnet18", "mobilenetv2"])
def test_shortcuts_are_compared(model):
    curves = table(
        succeed("plot_ratio_warmup.py", "--model", model, "--dataset", "tinyimagenet", "--convcut")
    )
    assert set(curves) == {
        "uniform, published",
        "uniform, convolution in every shortcut, published",
    }
    for ratio, at in curves["uniform, convolution in every shortcut, published"].items():
        params = count_params(
            model, uniform_filters(model, ratio), convcut=True, **shape_of("tinyimagenet")
        )
        assert whole(at["parameters"]) == params
        assert (
            at["mean"] == f"{np.mean(published_best(model, 'tinyimagenet', 'convcut', ratio)):.2f}"
        )
    assert_is_a_picture(Path(f"saved_plots/{model}/tinyimagenet_convcut_params.png"))


@pytest.mark.parametrize(
    "model, dataset",
    [
        ("vgg", "CIFAR10"),
        ("vgg", "CIFAR100"),
        ("resnet18", "CIFAR100"),
        ("resnet18", "tinyimagenet"),
    ],
)
def test_the_magnitude_baseline_is_compared_at_its_budget(model, dataset):
    curves = table(succeed("plot_ratio_finetune.py", "--model", model, "--dataset", dataset))
    shown = curves["magnitude pruning, fine-tuned, published"]
    assert set(shown) == {0.75}
    assert (
        shown[0.75]["mean"] == f"{np.mean(published_best(model, dataset, 'magnitude', 0.75)):.2f}"
    )
    assert {"uniform, published", "NeuralScale, iteration 15, published"} < set(curves)


# --- the user's runs ------------------------------------------------------------------------------


def test_named_runs_are_grouped_by_seed():
    accuracy = {0.25: [40.0, 44.0, 45.0], 0.5: [60.0, 62.0]}
    for ratio, bests in accuracy.items():
        for seed, best in enumerate(bests):
            write_result(f"mine_{seed}", best, ratio=ratio, seed=seed)
    write_result("narrow", 30.0)
    curves = table(
        succeed("plot_ratio.py", "--dataset", "digits", "--runs", "My run=mine", "other=narrow")
    )
    assert set(curves) == {"My run", "other"} and set(curves["My run"]) == {0.25, 0.5}
    for ratio, bests in accuracy.items():
        at = curves["My run"][ratio]
        assert (at["mean"], at["std"], at["n"]) == (
            f"{np.mean(bests):.2f}",
            f"{np.std(bests, ddof=1):.2f}",
            str(len(bests)),
        )
        assert whole(at["parameters"]) == count_params("vgg", uniform_filters("vgg", ratio))
    assert curves["other"][0.25]["n"] == "1" and curves["other"][0.25]["std"] == "-"
    assert_is_a_picture(Path("saved_plots/vgg/digits_accuracy_params.png"))


def test_runs_that_ratio_swipe_trained_are_drawn():
    train = [*DIGITS, "--epochs", 1, "--ratios", 0.0625, 0.125]
    succeed(
        "architecture_descent.py",
        "--save",
        "found",
        *DIGITS,
        "--ratio",
        0.0625,
        "--epochs",
        3,
        "--warmup",
        0,
        "--iterations",
        1,
    )
    for seed in (0, 1):
        succeed("ratio_swipe.py", "--save", f"uni_{seed}", "--uniform", *train)
        succeed("ratio_swipe.py", "--save", f"eff_{seed}", "--prune-fname", "found", *train)
    curves = table(
        succeed("plot_ratio.py", "--dataset", "digits", "--runs", "uniform=uni", "NeuralScale=eff")
    )
    assert {label: set(points) for label, points in curves.items()} == {
        "uniform": {0.0625, 0.125},
        "NeuralScale": {0.0625, 0.125},
    }
    best = [read_result(Path(f"saved_plots/vgg/eff_{seed}_12.json"))["best"] for seed in (0, 1)]
    assert (
        curves["NeuralScale"][0.125]["mean"] == f"{np.mean(best):.2f}"
        and curves["NeuralScale"][0.125]["n"] == "2"
    )
    uniform = curves["uniform"][0.125]
    assert (
        abs(float(curves["NeuralScale"][0.125]["gap"]) - (np.mean(best) - float(uniform["mean"])))
        < 0.02
    )


def test_default_names_are_found_beside_the_published_curves():
    law = read_published_scaling("vgg", "CIFAR10")["iterations"][14]
    filters = prepare_filters("vgg", 0.25, scaling=PowerLaw(law["alpha"], law["beta"]))
    for seed in range(3):
        write_result(f"vgg_uni_c10_{seed}", 88.0 + seed, dataset="CIFAR10", seed=seed)
        write_result(
            f"vgg_10_eff_c10_late_{seed}",
            92.0 + seed,
            dataset="CIFAR10",
            seed=seed,
            filters=filters,
            method="neuralscale_15",
        )
    write_result("vgg_uni_c100_0", 60.0, dataset="CIFAR100")
    curves = table(succeed("plot_ratio.py", "--model", "vgg", "--dataset", "CIFAR10"))
    assert curves["uniform"][0.25]["mean"] == "89.00" and curves["uniform"][0.25]["n"] == "3"
    # to the user's own uniform networks
    assert curves["NeuralScale, iteration 15"][0.25]["gap"] == "+4.00"
    assert curves["NeuralScale, iteration 15, published"][0.25]["gap"] == "+3.04"
    alone = table(
        succeed("plot_ratio.py", "--model", "vgg", "--dataset", "CIFAR10", "--no-published")
    )
    assert set(alone) == {"uniform", "NeuralScale, iteration 15"}


@pytest.mark.parametrize(
    "script, options, name, method, label",
    [
        ("plot_ratio.py", "", "vgg_pruned_c10_0", "morphnet", "MorphNet (Taylor-FO)"),
        ("plot_ratio.py", "", "vgg_norm_c10_2", "magnitude", "magnitude pruning, fine-tuned"),
        (
            "plot_ratio.py",
            "",
            "vgg_10_eff_c10_early_4",
            "neuralscale_1",
            "NeuralScale, iteration 1",
        ),
        ("plot_ratio_warmup.py", "", "vgg_30_eff_c10_0", "neuralscale_15", "NeuralScale, P = 30"),
        (
            "plot_ratio_warmup.py",
            "--convcut",
            "vgg_convcut_c10_0",
            "convcut",
            "uniform, convolution in every shortcut",
        ),
        (
            "plot_ratio_finetune.py",
            "--ratio 0.25",
            "vgg_norm_c10_1",
            "magnitude",
            "magnitude pruning, fine-tuned",
        ),
    ],
)
def test_every_default_name_is_found(script, options, name, method, label):
    write_result(name, 77.77, dataset="CIFAR10", method=method, convcut=method == "convcut")
    curves = table(succeed(script, "--model", "vgg", "--dataset", "CIFAR10", *options.split()))
    assert [
        label for label, points in curves.items() if points.get(0.25, {}).get("mean") == "77.77"
    ] == [label]


def test_runs_of_another_data_set_or_model_are_refused():
    write_result("mine_0", 50.0)
    assert_refused(
        call("plot_ratio.py", "--dataset", "CIFAR10", "--runs", "mine=mine"),
        "mine_0_25.json",
        "digits",
    )
    write_result("vgg_uni_c10_0", 50.0)
    assert_refused(call("plot_ratio.py", "--dataset", "CIFAR10"), "vgg_uni_c10_0_25.json", "digits")
    os.makedirs("saved_plots/resnet18")
    os.rename("saved_plots/vgg/mine_0_25.json", "saved_plots/resnet18/mine_0_25.json")
    assert_refused(
        call("plot_ratio.py", "--dataset", "digits", "--model", "resnet18", "--runs", "mine=mine"),
        "mine_0_25.json",
        "vgg",
    )


def test_a_damaged_result_is_named():
    for seed in (0, 1):
        path = write_result(f"mine_{seed}", 50.0, seed=seed)
    for content in (
        path.read_bytes()[:200],
        b"",
        b"{}",
        path.read_bytes().replace(b'"best": 50.0', b'"best": 51.0'),
    ):
        path.write_bytes(content)
        before = snapshot(".")
        assert_refused(
            call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=mine"), "mine_1_25.json"
        )
        assert snapshot(".") == before


def test_seeds_that_trained_different_networks_are_refused():
    write_result("mine_0", 50.0)
    write_result("mine_1", 50.0, filters=[20] * 8, seed=1)
    assert_refused(
        call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=mine"), "mine_1_25.json"
    )


def test_latency_is_measured_and_its_device_named():
    write_result("mine_0", 50.0, ratio=0.0625)
    curves = table(
        succeed(
            "plot_ratio.py",
            "--dataset",
            "digits",
            "--runs",
            "mine=mine",
            "--axis",
            "latency",
            "--device",
            "cpu",
        )
    )
    assert float(curves["mine"][0.0625]["ms"]) > 0
    assert_is_a_picture(Path("saved_plots/vgg/digits_accuracy_latency.png"))


def test_a_folder_of_ones_own_images_is_a_subject(here):
    """The number of classes and the size of the images come from its results."""
    shape = {"num_classes": 3, "image_size": 64}
    params = count_params("vgg", uniform_filters("vgg", 0.25), **shape)
    write_result("mine_0", 50.0, **shape, params=params)
    path = Path("saved_plots/vgg/mine_0_25.json")
    path.write_text(path.read_text().replace('"digits"', '"flowers"'))
    curves = table(succeed("plot_ratio.py", "--dataset", here / "flowers", "--runs", "mine=mine"))
    assert whole(curves["mine"][0.25]["parameters"]) == params


# --- the original release's results ---------------------------------------------------------------

CURVES = {
    "list": [70.5, 88.25, 87.0],
    "array": np.array([70.5, 88.25, 87.0]),
    "float32": np.array([70.5, 88.25, 87.0], np.float32),
    "scalars": [np.float64(70.5), np.float32(88.25), np.float64(87.0)],
    "arrays": [np.array(70.5), np.array(88.25), np.array(87.0)],
    "tuple": (70.5, 88.25, 87.0),
    "big-endian": np.array([70.5, 88.25, 87.0], ">f8"),
    "strided": np.array([[70.5, 0], [88.25, 0], [87.0, 0]])[:, 0],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", CURVES)
def test_pk_results_are_read(kind, protocol):
    path = Path("saved_plots/vgg/vgg_uni_c10_0_25.pk")
    path.parent.mkdir(parents=True)
    path.write_bytes(
        pickle.dumps(
            {"train_acc": [1.0], "test_acc": CURVES[kind], "epochs": 3, "loss": np.ones(3)},
            protocol,
        )
    )
    assert read_test_accuracy(path) == [70.5, 88.25, 87.0]


@pytest.mark.parametrize("name", [b"numpy.core", b"numpy._core"])  # before numpy 2, and since
def test_pk_results_that_an_older_or_a_newer_numpy_wrote_are_read(name):
    path = Path("old.pk")
    pickled = pickle.dumps(
        {"test_acc": [np.float64(88.25), *np.array([70.5])], "all": np.array([70.5])}, 2
    )
    path.write_bytes(re.sub(rb"numpy\._?core(?=\.multiarray)", name, pickled))
    assert name in path.read_bytes()
    assert read_test_accuracy(path) == [88.25, 70.5]


def test_pk_results_under_the_default_names_are_drawn():
    folder = Path("saved_plots/vgg")
    folder.mkdir(parents=True)
    for seed in range(2):
        for percent, best in ((25, 88.0), (50, 91.0)):
            for name in ("vgg_uni_c10", "vgg_10_eff_c10_late", "vgg_pruned_c10"):
                content = {"test_acc": np.array([50.0, best + seed])}
                (folder / f"{name}_{seed}_{percent}.pk").write_bytes(
                    pickle.dumps(content, 2 + seed)
                )
    write_result("vgg_uni_c10_2", 90.0, dataset="CIFAR10", seed=2)
    curves = table(succeed("plot_ratio.py", "--model", "vgg", "--dataset", "CIFAR10"))
    assert (curves["uniform"][0.25]["mean"], curves["uniform"][0.25]["n"]) == ("89.00", "3")
    assert (
        curves["NeuralScale, iteration 15"][0.5]["mean"],
        curves["NeuralScale, iteration 15"][0.5]["n"],
    ) == ("91.50", "2")
    for label in ("NeuralScale, iteration 15", "MorphNet (Taylor-FO)"):
        assert (
            curves[label][0.25]["parameters"] == curves[f"{label}, published"][0.25]["parameters"]
        )


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n(S'touch created'\ntR.",
        b'cbuiltins\neval\n(S\'open("created","w")\'\ntR.',
        b"\x80\x03}q\x00X\x08\x00\x00\x00test_accq\x01cposix\nsystem\nq\x02X\r\x00\x00\x00touch "
        b"createdq\x03\x85Rs.",
    ],
    ids=["os.system", "builtins.eval", "posix.system"],
)
def test_a_pk_that_names_code_is_refused_and_nothing_executed(text):
    path = Path("saved_plots/vgg/vgg_uni_c10_0_25.pk")
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    before = snapshot(".")
    for script in ("plot_ratio.py", "plot_ratio_warmup.py"):
        assert_refused(call(script, "--dataset", "CIFAR10"), "vgg_uni_c10_0_25.pk")
    assert snapshot(".") == before and not Path("created").exists()


# --- list_architecture.py -------------------------------------------------------------------------


def test_listed_architectures_are_those_of_prepare_filters():
    out = succeed(
        "list_architecture.py",
        "--model",
        "resnet18",
        "--dataset",
        "tinyimagenet",
        "--prune-fname",
        "published",
        "--json",
    )
    listed = json.loads(out)
    shape = shape_of("tinyimagenet")
    assert (listed["model"], listed["dataset"], listed["num_classes"], listed["image_size"]) == (
        "resnet18",
        "tinyimagenet",
        200,
        64,
    )
    iterations = read_published_scaling("resnet18", "tinyimagenet")["iterations"]
    assert [(row["ratio"], row["iteration"]) for row in listed["architectures"]] == [
        (ratio, i) for ratio in (0.25, 0.5, 0.75, 1.0) for i in range(15)
    ]
    for row in listed["architectures"]:
        law = iterations[row["iteration"]]
        assert row["filters"] == prepare_filters(
            "resnet18", row["ratio"], scaling=PowerLaw(law["alpha"], law["beta"]), **shape
        )
        assert row["params"] == count_params("resnet18", row["filters"], **shape)
        assert row["macs"] == count_macs("resnet18", row["filters"], **shape)


def test_json_stays_json_while_drawing():
    outcome = call(
        "list_architecture.py",
        "--prune-fname",
        "published",
        "--ratios",
        0.25,
        0.3,
        "--json",
        "--plot",
        "--out",
        "map.png",
    )
    assert outcome.status == 0 and len(json.loads(outcome.out)["architectures"]) == 30
    assert_is_a_picture(Path("map.png"))


def test_a_search_of_ones_own_is_listed_and_drawn():
    succeed(
        "architecture_descent.py",
        "--save",
        "found",
        *DIGITS,
        "--ratio",
        0.0625,
        "--epochs",
        4,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--iterations",
        2,
    )
    shown = ["--dataset", "digits", "--prune-fname", "found"]
    status, out, err = call("list_architecture.py", *shown, "--ratios", 0.125, "--json")
    listed = json.loads(out)["architectures"]
    assert status == 0 and (not err or err.startswith("found: "))  # beside the JSON, not in it
    assert [row["iteration"] for row in listed] == [0, 1] and all(
        len(row["filters"]) == len(template("vgg")) for row in listed
    )
    assert "0.125" in succeed("list_architecture.py", *shown, "--ratios", 0.125, "--plot")
    succeed("plot_filters.py", *shown)
    for picture in ("digits_found_architectures.png", "digits_found_residual_filters.png"):
        assert_is_a_picture(Path("saved_plots/vgg") / picture)


def test_seeds_of_a_pruning_keep_filters_of_their_own(here):
    """A point lies at the mean of what they cost; of any other method that is another network."""
    widths = [[8, 8, 8, 8, 8, 8, 8, 8], [8, 8, 8, 8, 8, 8, 8, 10]]
    costs = [count_params("vgg", filters, **shape_of("digits")) for filters in widths]
    for seed, filters in enumerate(widths):
        write_result(f"p_{seed}", 50.0, seed=seed, filters=filters, method="pruned_taylor")
    rows = table(succeed("plot_ratio.py", "--dataset", "digits", "--runs", "mine=p"))["mine"]
    assert whole(rows[0.25]["parameters"]) == round(sum(costs) / 2) and rows[0.25]["n"] == "2"

    for seed, filters in enumerate(widths):
        write_result(f"q_{seed}", 50.0, seed=seed, filters=filters)
    outcome = call("plot_ratio.py", "--dataset", "digits", "--runs", "mine=q")
    assert_refused(outcome, "q_1_25.json", "filters")
