"""Training from scratch: what a result says is what was trained, and the magnitude baseline prunes what it should."""
import argparse
import importlib
import json
import sys

import pytest
import torch

from model import build_model, count_macs, count_params, prepare_filters, template, uniform_filters
from model.gate import gates_of
from utils import records
from utils.magnitude import feeding_convolutions, largest_filters, prune, pruned_widths
from utils.powerlaw import PowerLaw
from utils.records import UserError
from utils.sweep import method_of

QUICK = ["--dataset", "digits", "--limit-train", "100", "--limit-test", "70", "--batch-size", "50", "--device", "cpu"]


def run(monkeypatch, tmp_path, script: str, *args: str) -> None:
    """Runs a script's main() in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *args, *QUICK])
    importlib.import_module(script).main()


def read(tmp_path, name: str, model: str = "vgg") -> dict:
    return json.loads((tmp_path / "saved_plots" / model / f"{name}.json").read_text())


def test_a_result_holds_the_network_that_was_trained_and_exact_accuracies(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "ratio_swipe", "--save", "u_3", "--uniform", "--ratios", "0.0625", "0.125", "--epochs", "3")
    out = capsys.readouterr().out
    for ratio in (0.0625, 0.125):
        found = read(tmp_path, f"u_3_{records.percent(ratio)}")
        filters = uniform_filters("vgg", ratio)
        assert (found["filters"], found["params"], found["macs"]) == (filters, count_params("vgg", filters), count_macs("vgg", filters))
        assert f"{found['params']:,}" in out
        assert (found["seed"], found["method"], len(found["train_loss"]), len(found["test_acc"])) == (3, "uniform", 3, 3)
        assert (found["best"], found["last"]) == (max(found["test_acc"]), found["test_acc"][-1])
        hits = [accuracy * found["test_images"] / 100 for accuracy in found["test_acc"]]
        assert hits == pytest.approx([round(hit) for hit in hits], abs=1e-9)
        weights = records.read_tensors(tmp_path / "saved_models" / "vgg" / f"u_3@{records.percent(ratio)}.pt")
        build_model("vgg", weights["filters"]).load_state_dict(weights["network"])


def test_a_finished_ratio_is_skipped_and_other_settings_under_its_name_are_refused(monkeypatch, tmp_path, capsys):
    args = ["--save", "u", "--uniform", "--ratios", "0.0625", "--epochs", "1"]
    run(monkeypatch, tmp_path, "ratio_swipe", *args)
    before = (tmp_path / "saved_plots" / "vgg" / "u_6.json").read_bytes()
    run(monkeypatch, tmp_path, "ratio_swipe", *args)
    assert "skipped" in capsys.readouterr().out
    for other in (["--lr", "0.2"], ["--seed", "5"], ["--convcut"], ["--model", "vgg", "--epochs", "2"]):
        with pytest.raises(UserError, match=r"u_6\.json: begun with"):
            run(monkeypatch, tmp_path, "ratio_swipe", *args, *other)
    assert (tmp_path / "saved_plots" / "vgg" / "u_6.json").read_bytes() == before


def test_one_seed_gives_one_result_and_another_seed_another(monkeypatch, tmp_path):
    found = {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run(monkeypatch, tmp_path, "ratio_swipe", "--save", name, "--seed", seed, "--uniform", "--ratios", "0.0625", "--epochs", "2")
        found[name] = {key: value for key, value in read(tmp_path, f"{name}_6").items() if key != "seconds"}
    assert found["a"] == found["b"]
    assert found["a"]["train_loss"] != found["c"]["train_loss"]


def test_the_methods_and_their_shapes(tmp_path):
    def ask(**options):
        args = argparse.Namespace(**{
            "model": "vgg", "uniform": False, "morph": False, "convcut": False, "prune_fname": None, "descent_idx": None,
            "record_dir": str(tmp_path), "plot_dir": "", **options})
        return method_of(args, "CIFAR10")

    assert ask(uniform=True) == ("uniform", None, None)
    assert ask(uniform=True, convcut=True)[0] == "convcut"
    assert ask(morph=True) == ("morphnet", None, [64, 128, 249, 253, 268, 175, 87, 152])
    assert ask(prune_fname="published")[0] == "neuralscale_15"
    assert ask(prune_fname="published", descent_idx=0)[0] == "neuralscale_1"
    for wrong in ({}, {"uniform": True, "morph": True}, {"uniform": True, "prune_fname": "x"}, {"prune_fname": "nothing"},
                  {"prune_fname": "published", "descent_idx": 15}, {"uniform": True, "descent_idx": 1}):
        with pytest.raises(UserError):
            ask(**wrong)


def search_record(tmp_path, name: str, *, morph: bool, model: str = "vgg", dataset: str = "digits") -> None:
    law = PowerLaw([1.0] * 8, [0.3] * 8)
    records.write_json(records.search_record(str(tmp_path), name), {
        "model": model, "dataset": dataset, "num_classes": 10, "image_size": 32, "settings": {"morph": morph},
        "iterations": [{"alpha": law.alpha, "beta": law.beta, "filters": template("vgg"), "rounds": 2, "seconds": 1}]})
    records.write_rows(records.search_rows(str(tmp_path), name, 0), [[9] * 8, [3, 4, 5, 6, 7, 8, 9, 10]])


def test_morph_takes_the_last_row_of_a_morph_search_and_refuses_others(tmp_path):
    search_record(tmp_path, "m", morph=True)
    search_record(tmp_path, "n", morph=False)
    assert records.read_morph(str(tmp_path), "m", "vgg", "digits") == [3, 4, 5, 6, 7, 8, 9, 10]
    for name, model, dataset in (("n", "vgg", "digits"), ("m", "resnet18", "digits"), ("m", "vgg", "CIFAR10"), ("x", "vgg", "digits")):
        with pytest.raises(UserError):
            records.read_morph(str(tmp_path), name, model, dataset)


@pytest.mark.parametrize("model", ["vgg", "resnet18", "mobilenetv2"])
def test_magnitude_keeps_the_filters_with_the_largest_norms_and_removing_the_rest_changes_no_output(model):
    torch.manual_seed(0)
    filters = uniform_filters(model, 0.25)
    network = build_model(model, filters, gated=True)
    widths = pruned_widths(model, 0.1875, filters, num_classes=10, image_size=32)
    assert count_params(model, widths) <= count_params(model, uniform_filters(model, 0.1875))
    kept = largest_filters(network, widths)
    for conv, mask, width in zip(feeding_convolutions(network), kept, widths):
        norms = conv.weight.detach().abs().flatten(1).sum(1)
        assert mask.sum() == width
        assert width == len(mask) or norms[mask].min() >= norms[~mask].max()
    before = sum(p.numel() for p in network.parameters())
    small, difference = prune(network, kept, 32)
    assert difference < 1e-5
    assert sum(p.numel() for p in small.parameters()) < before


def test_each_gate_of_the_residual_networks_is_fed_by_the_convolution_of_its_branch():
    network = build_model("resnet18", gated=True)
    blocks = network.blocks
    expected = [network.stem] + [conv for block in blocks for conv in (block.conv1, block.conv2)]
    assert feeding_convolutions(network) == expected
    network = build_model("mobilenetv2", gated=True)
    expected = [network.stem[0]] + [b.branch[6] for b in network.bottlenecks] + [network.head[0]]
    assert feeding_convolutions(network) == expected
    assert len(expected) == len(gates_of(network))


def test_train_norm_then_fine_tune(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "train_norm", "--save", "base", "--ratio", "0.125", "--epochs", "2")
    run(monkeypatch, tmp_path, "fine_tune", "--save", "tuned_1", "--prune-fname", "base", "--ratio", "0.09375", "--epochs", "2")
    found = read(tmp_path, "tuned_1_9")
    assert found["method"] == "magnitude"
    assert found["filters"] == prepare_filters("vgg", 0.09375, pruned_filters=uniform_filters("vgg", 0.125))
    assert "outputs differ by" in " ".join(capsys.readouterr().out.split())


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_epoch(monkeypatch, tmp_path):
    args = ["--save", "bad", "--uniform", "--ratios", "0.0625", "--epochs", "3"]
    from utils import engine
    real = engine.F.cross_entropy
    calls = iter(range(10**6))

    def poisoned(logits, labels):
        return real(logits, labels) * (float("nan") if next(calls) == 6 else 1)  # 2 batches and 1 evaluation per epoch: epoch 2, batch 0

    monkeypatch.setattr(engine.F, "cross_entropy", poisoned)
    with pytest.raises(UserError, match="epoch 2, batch 0"):
        run(monkeypatch, tmp_path, "ratio_swipe", *args)
    monkeypatch.setattr(engine.F, "cross_entropy", real)
    saved = records.read_tensors(tmp_path / "saved_models" / "vgg" / "bad@6@unfinished.pt")
    assert len(saved["curve"]["test_acc"]) == 2
    assert all(torch.isfinite(tensor).all() for tensor in saved["network"].values())
    run(monkeypatch, tmp_path, "ratio_swipe", *args, "--resume")
    assert len(read(tmp_path, "bad_6")["test_acc"]) == 3
