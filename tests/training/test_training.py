"""Training from scratch: what a result says is what was trained, and the magnitude baseline prunes
what it should."""

import importlib
import json
import sys

import pytest
import torch

from model import (
    MODELS,
    build_model,
    count_macs,
    count_params,
    prepare_filters,
    template,
    uniform_filters,
)
from model.gate import gates_of
from utils.errors import UserError
from utils.powerlaw import PowerLaw
from utils.records import paths
from utils.records.files import read_tensors, write_json, write_rows
from utils.records.method import Method
from utils.records.methods import method_of
from utils.settings import Networks
from utils.training import loop
from utils.training.magnitude import (
    compactor_of,
    filter_norms,
    largest_filters,
    prune,
    pruned_widths,
)

QUICK = [
    "--dataset",
    "digits",
    "--limit-train",
    "100",
    "--limit-test",
    "70",
    "--batch-size",
    "50",
    "--device",
    "cpu",
]


def run(monkeypatch, tmp_path, script: str, *args: str) -> None:
    """Runs a script's main() in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *args, *QUICK])
    importlib.import_module(script).main()


def read(tmp_path, name: str, model: str = "vgg") -> dict:
    return json.loads((tmp_path / "saved_plots" / model / f"{name}.json").read_text())


def test_a_result_holds_the_network_that_was_trained_and_exact_accuracies(
    monkeypatch, tmp_path, capsys
):
    run(
        monkeypatch,
        tmp_path,
        "ratio_swipe",
        "--save",
        "u_3",
        "--uniform",
        "--ratios",
        "0.0625",
        "0.125",
        "--epochs",
        "3",
    )
    out = capsys.readouterr().out
    for ratio in (0.0625, 0.125):
        found = read(tmp_path, f"u_3_{paths.percent(ratio)}")
        filters = uniform_filters("vgg", ratio)
        assert (found["filters"], found["params"], found["macs"]) == (
            filters,
            count_params("vgg", filters),
            count_macs("vgg", filters),
        )
        assert f"{found['params']:,}" in out
        assert (
            found["seed"],
            found["method"],
            len(found["train_loss"]),
            len(found["test_acc"]),
        ) == (3, "uniform", 3, 3)
        assert (found["best"], found["last"]) == (max(found["test_acc"]), found["test_acc"][-1])
        hits = [accuracy * found["test_images"] / 100 for accuracy in found["test_acc"]]
        assert hits == pytest.approx([round(hit) for hit in hits], abs=1e-9)
        weights = read_tensors(tmp_path / "saved_models" / "vgg" / f"u_3@{paths.percent(ratio)}.pt")
        build_model("vgg", weights["filters"]).load_state_dict(weights["network"])


def test_a_finished_ratio_is_skipped_and_other_settings_under_its_name_are_refused(
    monkeypatch, tmp_path, capsys
):
    args = ["--save", "u", "--uniform", "--ratios", "0.0625", "--epochs", "1"]
    run(monkeypatch, tmp_path, "ratio_swipe", *args)
    before = (tmp_path / "saved_plots" / "vgg" / "u_6.json").read_bytes()
    run(monkeypatch, tmp_path, "ratio_swipe", *args)
    assert "skipped" in capsys.readouterr().out
    for other in (
        ["--lr", "0.2"],
        ["--seed", "5"],
        ["--convcut"],
        ["--model", "vgg", "--epochs", "2"],
    ):
        with pytest.raises(UserError, match=r"u_6\.json: begun with"):
            run(monkeypatch, tmp_path, "ratio_swipe", *args, *other)
    assert (tmp_path / "saved_plots" / "vgg" / "u_6.json").read_bytes() == before


def test_one_seed_gives_one_result_and_another_seed_another(monkeypatch, tmp_path):
    found = {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run(
            monkeypatch,
            tmp_path,
            "ratio_swipe",
            "--save",
            name,
            "--seed",
            seed,
            "--uniform",
            "--ratios",
            "0.0625",
            "--epochs",
            "2",
        )
        found[name] = {
            key: value for key, value in read(tmp_path, f"{name}_6").items() if key != "seconds"
        }
    assert found["a"] == found["b"]
    assert found["a"]["train_loss"] != found["c"]["train_loss"]


def test_the_methods_and_their_shapes(tmp_path):
    def ask(**options):
        return method_of(Networks(**options), "vgg", "CIFAR10", str(tmp_path))

    assert ask(uniform=True) == Method(
        "uniform", "vgg", law=None, widths=None, convcut=False, origin=None
    )
    assert ask(uniform=True, convcut=True) == Method(
        "convcut", "vgg", law=None, widths=None, convcut=True, origin=None
    )
    morph = ask(morph=True)
    assert (morph.name, morph.law, morph.widths) == (
        "morphnet",
        None,
        [64, 128, 249, 253, 268, 175, 87, 152],
    )
    assert ask(prune_fname="published").name == "neuralscale_15"
    assert ask(prune_fname="published", descent_idx=0).name == "neuralscale_1"
    for wrong in (
        {},
        {"uniform": True, "morph": True},
        {"uniform": True, "prune_fname": "x"},
        {"prune_fname": "nothing"},
        {"prune_fname": "published", "descent_idx": 15},
        {"uniform": True, "descent_idx": 1},
    ):
        with pytest.raises(UserError):
            ask(**wrong)


def search_record(
    tmp_path, name: str, *, morph: bool, model: str = "vgg", dataset: str = "digits"
) -> None:
    law = PowerLaw([1.0] * 8, [0.3] * 8)
    write_json(
        paths.search_record(str(tmp_path), name),
        {
            "model": model,
            "dataset": dataset,
            "num_classes": 10,
            "image_size": 32,
            "settings": {"morph": morph},
            "iterations": [
                {
                    "alpha": law.alpha,
                    "beta": law.beta,
                    "filters": template("vgg"),
                    "rounds": 2,
                    "seconds": 1,
                }
            ],
        },
    )
    write_rows(paths.search_rows(str(tmp_path), name, 0), [[9] * 8, [3, 4, 5, 6, 7, 8, 9, 10]])


def test_morph_takes_the_last_row_of_a_morph_search_and_refuses_others(tmp_path):
    search_record(tmp_path, "m", morph=True)
    search_record(tmp_path, "n", morph=False)

    def ask(name: str, model: str, dataset: str):
        return method_of(Networks(morph=True, prune_fname=name), model, dataset, str(tmp_path))

    assert ask("m", "vgg", "digits").widths == [3, 4, 5, 6, 7, 8, 9, 10]
    for name, model, dataset in (
        ("n", "vgg", "digits"),
        ("m", "resnet18", "digits"),
        ("m", "vgg", "CIFAR10"),
        ("x", "vgg", "digits"),
    ):
        with pytest.raises(UserError):
            ask(name, model, dataset)


@pytest.mark.parametrize("model", MODELS)
def test_magnitude_keeps_the_filters_with_the_largest_norms_and_removing_the_rest_changes_no_output(
    model,
):
    torch.manual_seed(0)
    filters = uniform_filters(model, 0.25)
    network = build_model(model, filters, gated=True)
    widths = pruned_widths(model, 0.1875, filters, num_classes=10, image_size=32)
    assert count_params(model, widths) <= count_params(model, uniform_filters(model, 0.1875))
    compactor = compactor_of(model, network)
    kept = largest_filters(compactor, widths)
    for norms, mask, width in zip(filter_norms(compactor), kept, widths, strict=True):
        assert mask.sum() == width
        assert width == len(mask) or norms[mask].min() >= norms[~mask].max()
    before = sum(p.numel() for p in network.parameters())
    small, difference = prune(compactor, kept)
    assert difference < 1e-5
    assert sum(p.numel() for p in small.parameters()) < before


@pytest.mark.parametrize("budget", ["params", "macs"])
def test_magnitude_prunes_a_base_whose_narrowest_layers_have_a_filter_each(budget):
    for ratio, base in ((0.01, [1, 3, 5, 5, 10, 10, 10, 10]), (0.02, [1, 1, 6, 6, 12, 12, 12, 12])):
        widths = pruned_widths("vgg", ratio, base, num_classes=10, image_size=32, budget=budget)
        assert (
            widths[0] == 1
            and all(width <= before for width, before in zip(widths, base))
            and widths != base
        )
        kept = largest_filters(compactor_of("vgg", build_model("vgg", base, gated=True)), widths)
        assert [int(mask.sum()) for mask in kept] == widths


def test_magnitude_refuses_a_base_that_is_within_the_budget():
    for base in (uniform_filters("vgg", 0.125), [1] * 8):
        with pytest.raises(UserError, match="nothing to prune"):
            pruned_widths("vgg", 0.125, base, num_classes=10, image_size=32)


def assert_norms_of(model, network, convolutions) -> None:
    for norms, conv in zip(filter_norms(compactor_of(model, network)), convolutions, strict=True):
        torch.testing.assert_close(norms, conv.weight.detach().abs().flatten(1).sum(1))


def test_each_gate_of_the_residual_networks_is_fed_by_the_convolution_of_its_branch():
    network = build_model("resnet18", gated=True)
    blocks = network.blocks
    expected = [network.stem] + [conv for block in blocks for conv in (block.conv1, block.conv2)]
    assert_norms_of("resnet18", network, expected)
    network = build_model("mobilenetv2", gated=True)
    expected = [network.stem[0]] + [b.branch[6] for b in network.bottlenecks] + [network.head[0]]
    assert_norms_of("mobilenetv2", network, expected)
    assert len(expected) == len(gates_of(network))


def test_train_norm_then_fine_tune(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "train_norm", "--save", "base", "--ratio", "0.125", "--epochs", "2")
    run(
        monkeypatch,
        tmp_path,
        "fine_tune",
        "--save",
        "tuned_1",
        "--prune-fname",
        "base",
        "--ratio",
        "0.09375",
        "--epochs",
        "2",
    )
    found = read(tmp_path, "tuned_1_9")
    assert found["method"] == "magnitude"
    assert found["filters"] == prepare_filters(
        "vgg", 0.09375, pruned_filters=uniform_filters("vgg", 0.125)
    )
    assert "outputs differ by" in " ".join(capsys.readouterr().out.split())


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_epoch(
    monkeypatch, tmp_path
):
    args = ["--save", "bad", "--uniform", "--ratios", "0.0625", "--epochs", "3"]
    real = loop.F.cross_entropy
    calls = iter(range(10**6))

    def poisoned(logits, labels):
        # 2 batches and 1 evaluation per epoch: epoch 2, batch 0
        return real(logits, labels) * (float("nan") if next(calls) == 6 else 1)

    monkeypatch.setattr(loop.F, "cross_entropy", poisoned)
    with pytest.raises(UserError, match="epoch 2, batch 0"):
        run(monkeypatch, tmp_path, "ratio_swipe", *args)
    monkeypatch.setattr(loop.F, "cross_entropy", real)
    saved = read_tensors(tmp_path / "saved_models" / "vgg" / "bad@6@unfinished.pt")
    assert len(saved["curve"]["test_acc"]) == 2
    assert all(torch.isfinite(tensor).all() for tensor in saved["network"].values())
    run(monkeypatch, tmp_path, "ratio_swipe", *args, "--resume")
    assert len(read(tmp_path, "bad_6")["test_acc"]) == 3
