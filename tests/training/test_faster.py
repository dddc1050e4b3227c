"""--amp and --compile: that they do what they say, and to what they say only."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from results import result
from running import DIGITS, assert_refused, run, succeed
from searches import SEARCH

from model.graph.compaction import Compactor
from utils.records.files import read_tensors
from utils.records.results import read_result
from utils.records.searches import read_search
from utils.settings import SearchSettings

UNIFORM = ["--uniform", "--ratios", 0.0625, *DIGITS, "--epochs", 2, "--lr", 0.01]


@pytest.fixture
def dtypes(tmp_path, monkeypatch):
    """The kinds of numbers that convolutions gave, while scripts run in the current folder."""
    monkeypatch.chdir(tmp_path)
    found = set()

    def look(module, inputs, output):
        # while a network is read there are no numbers
        if isinstance(module, torch.nn.Conv2d) and not output.is_meta:
            found.add(output.dtype)

    handle = torch.nn.modules.module.register_module_forward_hook(look)
    yield found
    handle.remove()


def test_without_amp_all_is_float32(dtypes):
    succeed("ratio_swipe.py", "--save", "plain", *UNIFORM)
    assert dtypes == {torch.float32} and result("plain_6")["settings"]["amp"] is False


def test_amp_trains_in_bfloat16_and_keeps_weights_in_float32(dtypes):
    succeed("ratio_swipe.py", "--save", "amp", *UNIFORM, "--amp")
    assert dtypes == {torch.bfloat16} and result("amp_6")["settings"]["amp"] is True
    weights = read_tensors(Path("saved_models/vgg/amp@6.pt"))["network"]
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {
        torch.float32
    }
    succeed("ratio_swipe.py", "--save", "plain", *UNIFORM)
    exact, rounded = result("plain_6")["train_loss"], result("amp_6")["train_loss"]
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("masks", [(), ("--no-compact",)])
def test_a_search_with_amp(masks, dtypes, monkeypatch):
    cuts, compact = [], Compactor.compact
    monkeypatch.setattr(Compactor, "compact", lambda *args: cuts.append(compact(*args)) or cuts[-1])
    succeed("architecture_descent.py", "--save", "amp", *SEARCH, "--iterations", 1, "--amp", *masks)
    assert any(cuts) == (not masks)
    assert dtypes == {torch.bfloat16}
    record = read_search("prune_record", "amp", "vgg", "digits")
    assert record["settings"]["amp"] is True
    assert set(record["settings"]) == {field.name for field in fields(SearchSettings)} - {
        "model",
        "dataset",
        "limit_test",
        "channels",  # recorded where they were given
    }


def test_compile_gives_the_curves_of_the_plain_training_and_weights_that_others_read(tmp_path):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler")
    for name, options in (("plain", []), ("compiled", ["--compile"])):
        outcome = run(
            "ratio_swipe.py",
            "--save",
            name,
            *UNIFORM,
            *options,
            cwd=tmp_path,
            timeout=300,
            fresh=True,
        )
        assert outcome.status == 0, outcome.err
    plain, compiled = (
        read_result(tmp_path / f"saved_plots/vgg/{name}_6.json") for name in ("plain", "compiled")
    )
    assert compiled["train_loss"] == pytest.approx(plain["train_loss"], rel=1e-3)
    assert compiled["settings"] == plain["settings"] and compiled["filters"] == plain["filters"]
    plain, compiled = (
        read_tensors(tmp_path / f"saved_models/vgg/{name}@6.pt")["network"]
        for name in ("plain", "compiled")
    )
    assert {name: tensor.shape for name, tensor in compiled.items()} == {
        name: tensor.shape for name, tensor in plain.items()
    }


@pytest.mark.parametrize(
    "script, options",
    [("ratio_swipe.py", ["--uniform", "--ratios", 0.0625]), ("train_norm.py", [])],
)
def test_compile_without_a_compiler_is_refused_before_anything_is_trained(
    script, options, tmp_path
):
    outcome = run(
        script,
        "--save",
        "compiled",
        *options,
        *DIGITS,
        "--compile",
        cwd=tmp_path,
        fresh=True,
        env={
            "CXX": "no-such-compiler",
            "PATH": "/nowhere",
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        },
    )
    assert_refused(outcome, "--compile", "leave --compile out")
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.json"))
