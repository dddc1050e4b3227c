"""Training from scratch at every scale, and the magnitude baseline: what the results hold, from
which networks."""

import json
import math
import platform
from pathlib import Path

import pytest
import torch
from built_in import BUILT_IN, narrowest
from results import result, shape_of
from running import DIGITS, ONCE, assert_refused, call, everything, lasting, snapshot, succeed
from searches import SEARCH, last_row, law_of, recorded

from model import (
    MODELS,
    build_model,
    count_macs,
    count_params,
    layer_names,
    prepare_filters,
    uniform_filters,
)
from utils.data import evaluation_batches, load_data
from utils.errors import UserError
from utils.records import paths
from utils.records import run as runs
from utils.records.files import read_tensors, write_tensors
from utils.records.methods import method_of
from utils.records.published import read_published_scaling
from utils.training import loop, sweep
from utils.training.device import Runner

IMAGES, TEST_IMAGES = 100, 50
SHAPE = shape_of("digits")


@pytest.fixture(scope="module")
def stocked(searched):
    """A folder with a search of two iterations and a --morph search, on digits."""
    return searched


# --- which networks -------------------------------------------------------------------------------


METHODS = {  # options -> (name of the method, the filters at a ratio)
    "--uniform": ("uniform", lambda ratio: uniform_filters("vgg", ratio)),
    "--uniform --convcut": ("convcut", lambda ratio: uniform_filters("vgg", ratio)),
    "--prune-fname found": (
        "neuralscale_2",
        lambda ratio: prepare_filters("vgg", ratio, scaling=law_of("found", 1)),
    ),
    "--prune_fname found --descent_idx 0": (
        "neuralscale_1",
        lambda ratio: prepare_filters("vgg", ratio, scaling=law_of("found", 0)),
    ),
    "--morph --prune-fname morphed": (
        "morphnet",
        lambda ratio: prepare_filters("vgg", ratio, pruned_filters=last_row("morphed")),
    ),
}


@pytest.mark.parametrize("options", METHODS)
def test_a_method_trains_its_networks_within_the_budget(options, folder):
    succeed("ratio_swipe.py", "--save", "run_0", *options.split(), "--ratios", 0.0625, 0.125, *ONCE)
    method, filters_at = METHODS[options]
    for ratio, percent in ((0.0625, 6), (0.125, 12)):
        found, filters = result(f"run_0_{percent}"), filters_at(ratio)
        assert (found["model"], found["dataset"], found["method"], found["ratio"]) == (
            "vgg",
            "digits",
            method,
            ratio,
        )
        assert found["filters"] == filters
        assert (
            found["params"]
            == count_params("vgg", filters)
            <= count_params("vgg", uniform_filters("vgg", ratio))
        )
        assert found["macs"] == count_macs("vgg", filters)
        weights = read_tensors(Path(f"saved_models/vgg/run_0@{percent}.pt"))
        network = build_model("vgg", filters, convcut=found["convcut"])
        network.load_state_dict(weights["network"])
        assert sum(p.numel() for p in network.parameters()) == found["params"]


@pytest.mark.parametrize("model", [name for name in MODELS if BUILT_IN[name].residual])
def test_convcut_counts_the_convolution_in_every_shortcut(model, folder):
    ratio = narrowest(model)
    succeed(
        "ratio_swipe.py",
        "--model",
        model,
        "--save",
        "run",
        "--uniform",
        "--convcut",
        "--ratios",
        ratio,
        *ONCE,
    )
    found = result(f"run_{paths.percent(ratio)}", model)
    filters = uniform_filters(model, ratio)
    assert found["convcut"] and found["method"] == "convcut" and found["filters"] == filters
    assert (
        found["params"] == count_params(model, filters, convcut=True) > count_params(model, filters)
    )
    built = build_model(model, filters, convcut=True)
    assert found["params"] == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize(
    "model, dataset, options, method",
    [
        ("vgg", "CIFAR10", "--prune-fname published", "neuralscale_15"),
        ("vgg", "CIFAR100", "--prune-fname published --descent-idx 0", "neuralscale_1"),
        ("mobilenetv2", "CIFAR100", "--prune-fname published --descent-idx 14", "neuralscale_15"),
        ("resnet18", "CIFAR100", "--morph", "morphnet"),
        ("mobilenetv2", "tinyimagenet", "--morph", "morphnet"),
        ("resnet18", "tinyimagenet", "--prune-fname published --convcut", "neuralscale_15+convcut"),
    ],
)
def test_published_methods_need_no_search(model, dataset, options, method, folder, monkeypatch):
    """What is to be trained is asked for before the data: without CIFAR and TinyImageNet this goes
    no further."""
    script = "imagenet_ratio_swipe.py" if dataset == "tinyimagenet" else "ratio_swipe.py"
    asked = []

    def prepare(settings, storage, machine, networks, **_):
        asked.append(
            (method_of(networks, settings.model, settings.dataset, storage.record_dir), networks)
        )
        raise UserError("no data here")

    monkeypatch.setattr(sweep, "prepare", prepare)
    assert_refused(
        call(script, "--model", model, "--dataset", dataset, "--save", "x", *options.split()),
        "no data here",
    )
    found, networks = asked[0]
    assert (found.name, found.model, found.convcut, found.origin["search"]) == (
        method,
        model,
        "--convcut" in options,
        "published",
    )
    if "--morph" in options:
        published = json.loads((paths.PUBLISHED_DIR / "morphnet.json").read_text())[model][dataset]
        assert found.widths == published and found.law is None and found.origin["iteration"] == 0
    else:
        index = networks.descent_idx if networks.descent_idx is not None else -1
        iterations = read_published_scaling(model, dataset)["iterations"]
        entry = iterations[index]
        assert (found.law.alpha, found.law.beta, found.widths) == (
            entry["alpha"],
            entry["beta"],
            None,
        )
        assert found.origin["iteration"] == index % len(iterations)


def test_a_morph_search_prunes_half_of_the_filters(folder):
    """And stops: the last row is the one that MorphNet's networks are scaled from."""
    record = recorded("morphed")
    assert len(record["iterations"]) == 1 and record["settings"]["prune_fraction"] == 0.5
    assert sum(last_row("morphed")) <= 0.55 * sum(record["iterations"][0]["filters"])
    assert sum(last_row("morphed")) >= 0.40 * sum(record["iterations"][0]["filters"])


def test_a_record_of_another_model_or_data_set_is_refused(folder):
    before = snapshot(folder)
    for options in (
        "--model resnet18",
        "--dataset CIFAR10",
        "--dataset CIFAR100",
        "--model mobilenetv2",
    ):
        for method in ("--prune-fname found", "--morph --prune-fname morphed"):
            command = ["ratio_swipe.py", "--save", "run", *ONCE, *method.split(), *options.split()]
            assert_refused(call(*command), method.split()[-1], "vgg on digits")
    assert snapshot(folder) == before


# --- what the results hold ------------------------------------------------------------------------


def test_best_and_last_are_exact_fractions_of_the_test_set(folder):
    succeed(
        "ratio_swipe.py",
        "--save",
        "run",
        "--uniform",
        "--ratios",
        0.125,
        *DIGITS,
        "--limit-train",
        500,
        "--limit-test",
        77,
        "--epochs",
        4,
        "--lr",
        0.3,
    )
    found = result("run_12")
    assert found["best"] == max(found["test_acc"]) and found["last"] == found["test_acc"][-1]
    assert len(set(found["test_acc"])) > 1
    for accuracies, images in ((found["test_acc"], 77), (found["train_acc"], 500)):
        for accuracy in accuracies:
            hits = accuracy * images / 100
            assert abs(hits - round(hits)) < 1e-9
    assert found["test_images"] == 77 and found["images"] == 500
    assert all(len(found[key]) == 4 for key in ("train_loss", "train_acc", "test_loss", "test_acc"))


def test_last_is_the_accuracy_of_the_stored_weights(folder):
    succeed(
        "ratio_swipe.py", "--save", "run", "--uniform", "--ratios", 0.0625, *DIGITS, "--epochs", 2
    )
    stored = read_tensors(Path("saved_models/vgg/run@6.pt"))
    network = build_model("vgg", stored["filters"])
    network.load_state_dict(stored["network"])
    data = load_data("digits", "data", "cpu", limit_train=IMAGES, limit_test=TEST_IMAGES)
    _, accuracy = loop.evaluate(network, evaluation_batches(data), Runner("cpu"))
    assert accuracy == result("run_6")["last"]


def test_finished_ratios_are_skipped(folder):
    sweep_of = ["ratio_swipe.py", "--save", "run_0", "--uniform", *ONCE, "--ratios"]
    succeed(*sweep_of, 0.125)
    before = snapshot(folder)
    out = succeed(*sweep_of, 0.0625, 0.125)
    assert (
        "run_0_12.json: finished before" in out
        and "run_0@12, epoch 0" not in out
        and "run_0@6, epoch 0" in out
    )
    after = snapshot(folder)
    assert before.items() <= after.items() and len(after) == len(before) + 2


def test_one_seed_gives_one_result_and_another_another(folder):
    for name in ("first_3", "second_3", "third_4"):
        succeed(
            "ratio_swipe.py",
            "--save",
            name,
            "--uniform",
            "--ratios",
            0.0625,
            *DIGITS,
            "--epochs",
            2,
        )
    succeed(
        "ratio_swipe.py",
        "--save",
        "fourth_4",
        "--seed",
        3,
        "--uniform",
        "--ratios",
        0.0625,
        *DIGITS,
        "--epochs",
        2,
    )
    first, second, third, fourth = (
        result(f"{name}_6") for name in ("first_3", "second_3", "third_4", "fourth_4")
    )
    assert (first["seed"], third["seed"], fourth["seed"]) == (3, 4, 3)
    assert lasting(first) == lasting(second) == lasting(fourth)
    assert third["train_loss"] != first["train_loss"] and third["test_loss"] != first["test_loss"]


def test_one_seed_gives_one_search_and_another_another(folder):
    again = ["architecture_descent.py", *SEARCH, "--iterations", 2, "--save"]
    succeed(*again, "again_0")
    succeed(*again, "other_1")
    assert lasting(recorded("again_0")) == lasting(recorded("found"))
    assert (
        recorded("other_1")["iterations"][0]["alpha"] != recorded("found")["iterations"][0]["alpha"]
    )


def test_settings_and_versions_are_stored(folder):
    succeed(
        "ratio_swipe.py", "--save", "run_7", "--uniform", "--ratios", 0.0625, *ONCE, "--lr", 0.05
    )
    found = result("run_7_6")
    assert found["settings"]["lr"] == 0.05 and found["settings"]["seed"] == found["seed"] == 7
    assert (
        set(found["versions"]) == {"python", "torch", "device"}
        and found["versions"]["torch"] == torch.__version__
    )
    assert (
        found["versions"]["device"].startswith("cpu (")
        and platform.machine() in found["versions"]["device"]
    )
    assert found["seconds"] >= 0


# --- the magnitude baseline -----------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_fine_tuning_keeps_the_filters_with_the_largest_norms_within_the_budget(model, folder):
    """fine_tune.py on a base network of any architecture; its pruned network is the masked one,
    rebuilt small."""
    wide, narrow = 1.5 * narrowest(model), narrowest(model)
    succeed("train_norm.py", "--model", model, "--save", "base", "--ratio", wide, *ONCE)
    base = read_tensors(Path(f"saved_models/{model}/base.pt"))
    assert base["filters"] == uniform_filters(model, wide)
    succeed(
        "fine_tune.py",
        "--model",
        model,
        "--save",
        "tuned",
        "--prune-fname",
        "base",
        "--ratio",
        narrow,
        *ONCE,
    )
    found = result(f"tuned_{paths.percent(narrow)}", model)
    assert found["method"] == "magnitude" and found["base"] == "base"
    budget = count_params(model, uniform_filters(model, narrow))
    assert found["params"] == count_params(model, found["filters"]) <= budget
    fractions = [width / before for width, before in zip(found["filters"], base["filters"])]
    slack = [1 / before for before in base["filters"]]  # a width is a whole number
    assert all(max(fractions) - fraction <= s + 1e-9 for fraction, s in zip(fractions, slack))

    network = build_model(model, base["filters"])
    network.load_state_dict(base["network"])
    for layer, (names, kept) in enumerate(zip(layer_names(model), found["kept"], strict=True)):
        conv = network.get_submodule(names[0])  # whose output each gate multiplies first
        norms = conv.weight.detach().abs().sum(dim=(1, 2, 3))
        assert len(kept) == found["filters"][layer]
        pruned = sorted(set(range(len(norms))) - set(kept))
        assert norms[kept].min() >= norms[pruned].max()


@pytest.mark.parametrize("model", MODELS)
def test_the_parameters_of_a_fine_tuned_network_are_told_right_and_within_the_budget(model, folder):
    wide, narrow = 1.5 * narrowest(model), narrowest(model)
    succeed("train_norm.py", "--model", model, "--save", "base", "--ratio", wide, *ONCE)
    out = succeed(
        "fine_tune.py",
        "--model",
        model,
        "--save",
        "tuned",
        "--prune-fname",
        "base",
        "--ratio",
        narrow,
        *ONCE,
    )
    told = int(out.split("rebuilt small (")[1].split(" parameters")[0].replace(",", ""))
    stored = read_tensors(Path(f"saved_models/{model}/tuned@{paths.percent(narrow)}.pt"))
    trained = sum(
        tensor.numel()
        for name, tensor in stored["network"].items()
        if "running" not in name and "num_batches" not in name and "gate" not in name
    )
    assert told == trained
    stated = result(f"tuned_{paths.percent(narrow)}", model)["params"]
    assert stated <= count_params(model, uniform_filters(model, narrow))
    # channels of a residual stream stay for as long as any block reads them: the widths alone don't
    # tell
    if BUILT_IN[model].residual:
        assert stated <= trained
    else:
        assert stated == trained


@pytest.mark.parametrize("model", MODELS)
def test_the_small_network_gives_the_masked_ones_outputs(model, folder):
    """At the start of fine-tuning, in float64, to rounding."""
    from utils.training.magnitude import compactor_of, largest_filters, prune, pruned_widths

    torch.manual_seed(0)
    filters = uniform_filters(model, 2 * narrowest(model))
    network = build_model(model, filters, gated=True).double()
    for module in network.modules():  # a trained network's statistics
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.normal_(module.bias)
    compactor = compactor_of(model, network)
    kept = largest_filters(compactor, pruned_widths(model, narrowest(model), filters, **SHAPE))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        _, difference = prune(compactor, kept)
    finally:
        torch.set_default_dtype(default)
    assert 0 <= difference < 1e-9


def test_fine_tuning_starts_from_the_pruned_network_not_from_scratch(folder):
    train = [*DIGITS, "--limit-train", 400, "--limit-test", 200]
    succeed(
        "train_norm.py",
        "--save",
        "base",
        "--ratio",
        0.125,
        *train,
        "--epochs",
        12,
        "--lr",
        0.3,
        "--momentum",
        0.9,
    )
    succeed(
        "fine_tune.py",
        "--save",
        "tuned",
        "--prune-fname",
        "base",
        "--ratio",
        0.115,
        *train,
        "--epochs",
        2,
    )
    succeed(
        "ratio_swipe.py",
        "--save",
        "scratch",
        "--uniform",
        "--ratios",
        0.115,
        *train,
        "--epochs",
        2,
        "--lr",
        0.001,
    )
    tuned, scratch, base = result("tuned_11"), result("scratch_11"), result("base_12")
    assert tuned["train_loss"][0] < scratch["train_loss"][0] - 0.1
    assert base["best"] > 30 and tuned["best"] > scratch["best"]


# --- numbers that run away ------------------------------------------------------------------------

RUNAWAY = ["--lr", 100, "--weight-decay", 1]  # each step multiplies the weights by -99


@pytest.mark.parametrize(
    "script, options",
    [
        ("ratio_swipe.py", ["--uniform", "--ratios", 0.0625]),
        ("train_norm.py", ["--ratio", 0.0625]),
        ("architecture_descent.py", ["--ratio", 0.0625, "--warmup", 18]),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_and_says_where(script, options, folder):
    outcome = call(script, "--save", "run", *DIGITS, "--epochs", 20, *options, *RUNAWAY)
    assert_refused(outcome, "epoch", "batch")
    assert (
        not list(folder.glob("saved_plots/*/run*.json"))
        and not (folder / "prune_record" / "run.json").exists()
    )
    for checkpoint in folder.glob("saved_models/vgg/run*@unfinished.pt"):  # the last good one
        assert finite(read_tensors(checkpoint))


def test_a_result_is_never_written_with_numbers_that_cannot_be_read(folder):
    """Here the losses in training stay finite, but not those on the test images."""
    outcome = call(
        "ratio_swipe.py",
        "--save",
        "run",
        "--uniform",
        "--ratios",
        0.0625,
        *DIGITS,
        "--epochs",
        5,
        *RUNAWAY,
    )
    if outcome.status:
        assert_refused(outcome, "epoch")
    else:
        result("run_6")


def finite(content) -> bool:
    """Whether all numbers are finite, in tensors and outside, but for a search's running
    statistics, which it never uses."""
    if isinstance(content, torch.Tensor):
        return bool(content.isfinite().all())
    if isinstance(content, dict):
        if "pruner" in content:
            content = {
                **content,
                "network": {
                    key: value for key, value in content["network"].items() if "running" not in key
                },
            }
        return all(finite(value) for value in content.values())
    if isinstance(content, (list, tuple)):
        return all(finite(value) for value in content)
    return not isinstance(content, float) or math.isfinite(content)


def test_the_last_good_checkpoint_survives_and_a_smaller_rate_is_asked_for(folder):
    """The loss becomes infinite in the third epoch: the checkpoint of the second stays, to the
    bit."""
    command = ["train_norm.py", "--save", "run", "--ratio", 0.0625, *DIGITS, "--epochs", 6]
    real, written = loop.train_one_epoch, []

    def runs_away(state, *args):
        if state.epoch == 2:
            with torch.no_grad():
                next(state.network.parameters()).fill_(math.inf)
        return real(state, *args)

    def write(path, content, save=write_tensors):
        save(path, content)
        written.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_one_epoch", runs_away)
        patch.setattr(runs, "write_tensors", write)
        outcome = call(*command)
    assert_refused(outcome, "epoch 2, batch 0", "--lr")
    assert len(written) == 2
    assert Path("saved_models/vgg/run@unfinished.pt").read_bytes() == written[-1]
    succeed(*command, "--resume")
    resumed = everything(folder)
    succeed(*command, "--overwrite")
    assert everything(folder) == resumed


@pytest.mark.parametrize(
    "script, options",
    [
        ("train_norm.py", ["--ratio", 0.0625, "--epochs", 2]),
        ("train_norm.py", ["--ratio", 0.0625, "--epochs", 4]),
        ("ratio_swipe.py", ["--uniform", "--ratios", 0.0625, "--epochs", 2]),
        ("architecture_descent.py", ["--ratio", 0.0625, "--warmup", 2, "--epochs", 4]),
    ],
)
def test_weights_that_ran_away_in_the_last_step_of_an_epoch_are_not_stored(
    script, options, folder, monkeypatch
):
    """The losses of the epoch were numbers, as each was computed before its step; what the step
    left is not."""
    step, steps = torch.optim.SGD.step, []

    def runs_away(optimizer, *args):
        step(optimizer, *args)
        steps.append(optimizer)
        if len(steps) == 4:  # of two in each epoch
            with torch.no_grad():
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.fill_(math.nan)

    monkeypatch.setattr(torch.optim.SGD, "step", runs_away)
    outcome = call(script, "--save", "run", *DIGITS, *options)
    assert_refused(outcome, "epoch 1, batch 1")
    assert (
        not list(folder.glob("saved_plots/vgg/run*.json"))
        and not (folder / "prune_record" / "run.json").exists()
    )
    for checkpoint in folder.glob("saved_models/vgg/run*@unfinished.pt"):
        assert finite(read_tensors(checkpoint))
