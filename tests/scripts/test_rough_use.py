"""Rough use that once broke something: odd types from Python, odd names, edited records, links,
closed streams."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import DIGITS, REPOSITORY, assert_refused, call, snapshot, succeed

from utils.errors import UserError
from utils.records.files import read_tensors
from utils.settings import BaseNetwork, Networks, PrunedNetwork, Storage, TrainingSettings

SEARCH = [
    "architecture_descent.py",
    *DIGITS,
    "--ratio",
    0.0625,
    "--epochs",
    4,
    "--warmup",
    0,
    "--prune-every",
    1,
    "--prune-step",
    5,
]
SWEEP = ["ratio_swipe.py", *DIGITS, "--uniform", "--ratios", 0.0625, "--epochs", 3]
SMALL = {"dataset": "digits", "limit_train": 100, "limit_test": 50, "batch_size": 20, "epochs": 1}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with a search and a result of it."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed(*SEARCH, "--save", "found", "--iterations", 1)
        succeed(*SWEEP, "--save", "done")
    return folder


# --- settings from Python -------------------------------------------------------------------------


def test_numbers_of_numpy_are_kept_as_pythons_own_so_that_weights_can_be_read_again(folder):
    from utils.training.finetune import fine_tune, train_base

    settings = TrainingSettings(
        **{**SMALL, "epochs": np.int64(1)}, lr=np.float64(0.05), momentum=np.float32(0.5)
    )
    assert [type(value) for value in (settings.epochs, settings.lr, settings.momentum)] == [
        int,
        float,
        float,
    ]
    assert [type(ratio) for ratio in Networks(ratios=tuple(np.array([0.25, 0.5]))).ratios] == [
        float,
        float,
    ]
    train_base(
        settings,
        BaseNetwork(ratio=np.float64(0.125)),
        Storage(save="base", plot_dir=Path("results")),
    )
    assert read_tensors(folder / "saved_models" / "vgg" / "base.pt")["begun_with"]["lr"] == 0.05
    fine_tune(
        TrainingSettings(**SMALL),
        PrunedNetwork(prune_fname="base", ratio=0.0625),
        Storage(save="tuned", plot_dir="results"),
    )


@pytest.mark.parametrize(
    "kind, values, naming",
    [
        (Networks, {"ratios": ()}, "--ratios"),
        (TrainingSettings, {"lr": 10**400}, "--lr"),
        (TrainingSettings, {"epochs": 10**400}, "--epochs"),
        (Storage, {"save": "x", "plot_dir": "a\0b"}, "--plot-dir"),
        (TrainingSettings, {"dataset": "a\udcff"}, "--dataset"),
        (TrainingSettings, {"epochs": np.bool_(True)}, "--epochs"),
        (TrainingSettings, {"dataset": b"digits"}, "--dataset"),
    ],
)
def test_what_no_setting_can_be_is_refused(kind, values, naming):
    with pytest.raises(UserError, match=naming):
        kind(**values)


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--epochs", "--seed", "--lr"])
def test_a_number_of_hundreds_of_digits_is_refused(option, folder):
    assert_refused(call(*SWEEP, "--save", "x", option, "9" * 400), option)


def test_a_name_that_is_not_utf8_is_refused(folder):
    assert_refused(
        call("ratio_swipe.py", "--save", "x", "--uniform", "--dataset", "bad\udcff"), "--dataset"
    )


@pytest.mark.parametrize("out", ["/", ".", "a.**b/", ".."])
def test_a_picture_is_not_drawn_over_a_folder(out, folder):
    (folder / "a.**b").mkdir()
    assert_refused(call("plot_ratio.py", "--dataset", "digits", "--runs", "a=done", "--out", out))


def test_names_may_have_any_sign(folder):
    (folder / "saved_plots" / "vgg" / "$x_1$ and $\\foo$_6.json").write_text(
        (folder / "saved_plots" / "vgg" / "done_6.json").read_text()
    )
    for label in ("$\\foo$", "$x", "100 %"):
        succeed(
            "plot_ratio.py",
            "--dataset",
            "digits",
            "--runs",
            f"{label}=done",
            "b=$x_1$ and $\\foo$",
            "--out",
            "a.**b[1]",
        )
    assert (folder / "a.**b[1]").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "command",
    [
        ["ratio_swipe.py", "--dataset", "nope", "--uniform", "--save", "a"],
        ["plot_filters.py", "--prune-fname", "no"],
    ],
)
def test_an_error_without_a_stdout_is_still_one_line(command, tmp_path):
    done = subprocess.run(
        [
            "sh",
            "-c",
            'exec "$@" >&-',
            "sh",
            sys.executable,
            str(REPOSITORY / command[0]),
            *command[1:],
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (
        2,
        1,
    ) and "Traceback" not in done.stderr


# --- what is there --------------------------------------------------------------------------------


def test_rows_without_their_record_are_not_overwritten(folder):
    (folder / "prune_record" / "mine_0.csv").write_text("my, own, table\n")
    before = snapshot(folder)
    assert_refused(call(*SEARCH, "--save", "mine", "--iterations", 1), "mine_0.csv", "--overwrite")
    assert snapshot(folder) == before
    succeed(*SEARCH, "--save", "mine", "--iterations", 1, "--overwrite")


def test_a_search_that_goes_on_keeps_its_checkpoint_when_asked_for_no_more_than_it_has(
    folder, stop_after
):
    stop_after(4)  # two batches an epoch: in the second one
    assert call(*SEARCH, "--save", "found", "--iterations", 2, "--resume").status == 130
    before = snapshot(folder)
    assert "saved_models/vgg/found@search.pt" in before
    assert "finished before" in succeed(*SEARCH, "--save", "found", "--iterations", 1)
    assert snapshot(folder) == before
    assert "goes on in iteration 2 (--descent-idx 1)" in succeed(
        *SEARCH, "--save", "found", "--iterations", 2, "--resume"
    )


@pytest.mark.parametrize("command", [SEARCH, SWEEP], ids=["search", "sweep"])
def test_whose_work_it_is_is_told_through_links(command, folder, stop_after, monkeypatch):
    """Two folders share one of weights by links: neither takes up what the other began. Links to
    one's own are no obstacle."""
    for place in ("shared", "one", "two"):
        (folder / place).mkdir()
    for place in ("one", "two"):
        (folder / place / "saved_models").symlink_to("../shared")
    monkeypatch.chdir(folder / "one")
    stop_after(4)
    assert call(*command, "--save", "x").status == 130
    before = snapshot(folder)
    monkeypatch.chdir(folder / "two")
    assert_refused(call(*command, "--save", "x", "--resume"), "one")
    assert {name: content for name, content in snapshot(folder).items() if name in before} == before
    (folder / "link").symlink_to("one")
    monkeypatch.chdir(folder)
    assert "goes on" in succeed(
        *command,
        "--save",
        "x",
        "--resume",
        "--model-dir",
        "shared",
        "--record-dir",
        "link/prune_record",
        "--plot-dir",
        "link/saved_plots",
    )


# --- records and results that were edited ---------------------------------------------------------


def edited(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": "12345678"},
        {"alpha": {str(n): 1 for n in range(8)}},
        {"beta": ["0.1"] * 8},
        {"alpha": [True] * 8},
        {"filters": "12345678"},
        {"filters": [1.5] * 8},
        {"filters": [10**17] * 8},
        {"alpha": None},
    ],
    ids=str,
)
def test_an_edited_record_is_refused_by_every_script_that_reads_it(change, folder):
    edited(
        folder / "prune_record" / "found.json",
        lambda record: record["iterations"][0].update(change),
    )
    for script in ("list_architecture.py", "plot_filters.py", "ratio_swipe.py"):
        more = ["--save", "x", *DIGITS] if script == "ratio_swipe.py" else ["--dataset", "digits"]
        assert_refused(call(script, "--prune-fname", "found", *more), "found.json")


@pytest.mark.parametrize("iterations", [[], {}, ""])
def test_a_record_without_iterations_has_nothing_to_list(iterations, folder):
    edited(
        folder / "prune_record" / "found.json", lambda record: record.update(iterations=iterations)
    )
    assert_refused(
        call("list_architecture.py", "--prune-fname", "found", "--dataset", "digits", "--plot")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"test_acc": ["5"], "best": "5", "last": "5"},
        {"filters": [1, 2]},
        {"filters": []},
        {"filters": {"a": 1}},
        {"params": 1e308},
        {"macs": 1e308},
        {"params": 10**17},
        {"ratio": "0.5"},
        {"num_classes": None},
        {"image_size": "32"},
        {"seed": True},
        {"model": "other"},
        {"num_classes": 7},
    ],
    ids=str,
)
def test_an_edited_result_is_refused_by_the_scripts_that_compare(change, folder):
    edited(folder / "saved_plots" / "vgg" / "done_6.json", lambda result: result.update(change))
    for axis in ("params", "latency"):
        assert_refused(
            call("plot_ratio.py", "--dataset", "digits", "--runs", "a=done", "--axis", axis),
            "done_6.json",
        )


def test_a_result_of_a_data_set_of_ones_own_is_checked_before_its_shape_is_used(folder):
    shutil.copy(
        folder / "saved_plots" / "vgg" / "done_6.json",
        folder / "saved_plots" / "vgg" / "own_6.json",
    )
    edited(
        folder / "saved_plots" / "vgg" / "own_6.json",
        lambda result: [result.update(dataset="own"), result.pop("num_classes")],
    )
    assert_refused(call("plot_ratio.py", "--dataset", "own", "--runs", "a=own"), "own_6.json")
