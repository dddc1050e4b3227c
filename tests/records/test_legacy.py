"""The original release's pickles, whatever is in them: numbers, or a refusal, with little memory
and in little time."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from pickles import CURVE, crafted, mutated, read_all, read_curve, valid
from running import DIGITS, assert_refused, call, snapshot, succeed

from model import prepare_filters
from utils.powerlaw import PowerLaw
from utils.records import legacy
from utils.records.methods import read_scalings
from utils.records.published import read_published_scaling
from utils.records.results import read_result


@pytest.mark.parametrize("number", range(len(valid())))
def test_every_valid_result_is_read(number, tmp_path):
    (tmp_path / "x.pk").write_bytes(valid()[number])
    assert legacy.read_test_accuracy(tmp_path / "x.pk") == CURVE


def test_no_mutation_of_a_result_does_harm(tmp_path):
    read_all(mutated(valid(), 2000), read_curve, tmp_path / "x.pk")


def test_no_crafted_result_does_harm(tmp_path):
    files = crafted()
    assert len(files) >= 200
    read_all(files, read_curve, tmp_path / "x.pk")


# --- records of searches --------------------------------------------------------------------------

ALPHA = [[1.5 + layer + 10 * i for layer in range(8)] for i in range(3)]
BETA = [[0.25 + layer / 100 - i / 10 for layer in range(8)] for i in range(3)]
ENTRIES = [{"alpha": a, "beta": b} for a, b in zip(ALPHA, BETA)]
LAYOUTS = {
    "lists": {"alpha": ALPHA, "beta": BETA},
    "arrays": {"alpha": np.array(ALPHA), "beta": np.array(BETA), "params": [1, 2, 3]},
    "lists of arrays": {
        "alpha_list": list(map(np.array, ALPHA)),
        "Beta_list": tuple(map(np.array, BETA)),
    },
    "scalars": {
        "alphas": [list(map(np.float64, a)) for a in ALPHA],
        "betas": [[np.array([b]) for b in row] for row in BETA],
    },
    "dicts of iterations": {"alpha": dict(enumerate(ALPHA)), "beta": dict(enumerate(BETA))},
    "list of dicts": ENTRIES,
    "dict of dicts": {i + 1: entry for i, entry in reversed(list(enumerate(ENTRIES)))},
    "named iterations": {
        f"iter_{i}": {"alpha": np.array(ALPHA[i]), "beta": np.array(BETA[i]), "rounds": 9}
        for i in range(3)
    },
}
UNKNOWN = {
    "nothing of it": {"loss": [1.0], "epochs": 3},
    "no beta": {"alpha": ALPHA},
    "two alphas": {"alpha": ALPHA, "alpha_old": ALPHA, "beta": BETA},
    "one name for both": {"alpha_beta": ALPHA},
    "a pair": (ALPHA, BETA),
    "numbers": [1.0, 2.0],
    "nothing": {},
    "no iterations": [],
    "a number": 3,
    "fewer betas": {"alpha": ALPHA, "beta": BETA[:2]},
    "a layer less": {"alpha": ALPHA, "beta": [row[:7] for row in BETA]},
    "transposed": {"alpha": np.array(ALPHA).T, "beta": np.array(BETA).T},
    "negative": {"alpha": [[-a for a in ALPHA[0]]], "beta": BETA[:1]},
    "NaN": {"alpha": ALPHA[0], "beta": [float("nan")] * 8},
    "text": {"alpha": ["1.5"] * 8, "beta": BETA[0]},
    "some iterations": {i: ENTRIES[0] for i in (0, 7)},
    "an entry without": [*ENTRIES, {}],
    "of None": {"alpha": None, "beta": None},
}


def store(content, name: str = "old", protocol: int = 4) -> Path:
    path = Path("prune_record") / f"{name}.pk"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_record_of_a_search_is_read(layout, protocol, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store(LAYOUTS[layout], protocol=protocol)
    record = read_scalings("prune_record", "old", "vgg", "CIFAR100")
    assert record == {"iterations": ENTRIES, "num_classes": 100, "image_size": 32}
    said = capsys.readouterr()
    assert (
        "old.pk" in said.err and "does not say its model and data set" in said.err and not said.out
    )


@pytest.mark.parametrize(
    "content",
    [
        {"alpha": ALPHA[1], "beta": np.array(BETA[1])},
        {0: {"alpha": np.array(ALPHA[1]), "beta": BETA[1]}},
    ],
)
def test_the_record_of_a_single_iteration_is_read(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store(content)
    assert read_scalings("prune_record", "old", "vgg", "tinyimagenet") == {
        "iterations": [ENTRIES[1]],
        "num_classes": 200,
        "image_size": 64,
    }


@pytest.mark.parametrize("layout", UNKNOWN)
def test_any_other_layout_is_refused_and_said(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = store(UNKNOWN[layout])
    keys = list(map(str, UNKNOWN[layout])) if isinstance(UNKNOWN[layout], dict) else []
    outcome = call("list_architecture.py", "--prune-fname", "old", "--dataset", "CIFAR100")
    assert_refused(outcome, path, f"it has a {type(UNKNOWN[layout]).__name__}", *keys)


def test_scripts_take_the_record_of_a_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published = read_published_scaling("vgg", "CIFAR10")["iterations"]
    path = store(
        {
            "alpha": [entry["alpha"] for entry in published],
            "beta": np.array([entry["beta"] for entry in published]),
        }
    )
    listed = call("list_architecture.py", "--prune-fname", "old", "--dataset", "CIFAR10", "--json")
    same = succeed(
        "list_architecture.py", "--prune-fname", "published", "--dataset", "CIFAR10", "--json"
    )
    assert (listed.status, listed.out) == (0, same)
    assert str(path) in listed.err and len(listed.err.splitlines()) == 1
    trained = call(
        "ratio_swipe.py",
        *DIGITS,
        "--prune_fname",
        "old",
        "--descent_idx",
        3,
        "--ratios",
        0.0625,
        "--epochs",
        1,
        "--save",
        "new_0",
    )
    law = PowerLaw(published[3]["alpha"], published[3]["beta"])
    assert trained.status == 0 and "(--descent-idx 3) of 15" in trained.out
    result = read_result(Path("saved_plots/vgg/new_0_6.json"))
    assert (result["method"], result["filters"]) == (
        "neuralscale_4",
        prepare_filters("vgg", 0.0625, scaling=law),
    )


def test_a_record_of_the_release_is_refused_where_it_is_of_no_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = store(ENTRIES)
    before = snapshot(".")
    for command in (["plot_filters.py"], ["ratio_swipe.py", "--morph", "--save", "x"]):
        assert_refused(
            call(*command, "--prune-fname", "old", "--dataset", "CIFAR10"),
            path,
            "original release",
            "no rows",
        )
    train = ["ratio_swipe.py", "--save", "x", "--prune-fname", "old", "--dataset"]
    assert_refused(call(*train, "CIFAR10", "--model", "resnet18"), path, "17 layers")
    assert_refused(call(*train, "my_images"), path, "my_images", "image size")
    path.write_bytes(b"cos\nsystem\n(S'touch created'\ntR.")
    assert_refused(call(*train, "CIFAR10"), path, "os.system")
    path.with_suffix(".json").write_text("{")  # the project's own record comes first
    assert_refused(call(*train, "CIFAR10"), path.with_suffix(".json"))
    path.with_suffix(".json").unlink()
    path.write_bytes(before["prune_record/old.pk"])
    assert snapshot(".") == before


def test_no_record_of_a_search_does_harm(tmp_path):
    files = mutated(
        [pickle.dumps(content, protocol) for content in LAYOUTS.values() for protocol in (0, 2, 5)],
        1000,
    )
    row = b"(" + b"](" + b"G?\xf0" + bytes(6) + b"2" * 999 + b"eq\x00" + b"h\x00" * 999 + b"l"
    files += [
        b"\x80\x02}(U\x05alpha" + row + b"U\x04beta" + row + b"u.",
        b"\x80\x02}(U\x05alpha]q\x00h\x00aU\x04betah\x00u.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02}q\x00K\x00h\x00s.",
        *crafted()[::5],
    ]
    read_all(files, lambda path: legacy.read_release_search(path, 8), tmp_path / "x.pk")
