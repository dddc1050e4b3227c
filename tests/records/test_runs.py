"""What runs share, and what an earlier version left: no run takes another's files for its own, and
none of them is lost."""

import contextlib
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from running import (
    DIGITS,
    REPOSITORY,
    assert_refused,
    call,
    everything,
    fork,
    snapshot,
    stop_after,
    succeed,
    take,
    wait_for,
)
from searches import SEARCH

from utils.records.files import read_tensors, write_tensors

# left by the version before: its commands are EARLIER_COMMANDS, below
EARLIER = REPOSITORY / "tests" / "earlier"
NAME = "run"
COMMANDS = {
    "architecture_descent.py": [*SEARCH, "--iterations", 2],
    "ratio_swipe.py": [*DIGITS, "--uniform", "--ratios", 0.0625, "--epochs", 4],
    "train_norm.py": [*DIGITS, "--ratio", 0.0625, "--epochs", 4],
    "fine_tune.py": [*DIGITS, "--prune-fname", "base", "--ratio", 0.0625, "--epochs", 4],
}
RESULTS_IN = {
    script: "--record-dir" if script == "architecture_descent.py" else "--plot-dir"
    for script in COMMANDS
}
WEIGHTS = {"ratio_swipe.py": "run@6.pt", "train_norm.py": "run.pt", "fine_tune.py": "run@6.pt"}
scripts = pytest.mark.parametrize("script", COMMANDS)


@pytest.fixture(scope="module")
def made(stocked, tmp_path_factory):
    """made(command, ...) -> the folder in which they have ended, one after the other; the same
    commands run once. Not to be changed."""
    known = {}

    def result(*commands: list) -> Path:
        if str(commands) not in known:
            folder = shutil.copytree(stocked, tmp_path_factory.mktemp("made") / "run")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                for command in commands:
                    succeed(*command)
            known[str(commands)] = folder
        return known[str(commands)]

    return result


@pytest.fixture(scope="module")
def undisturbed(made):
    """undisturbed(command, ...) -> all that they leave in a folder of their own."""
    return lambda *commands: everything(made(*commands))


@pytest.fixture(scope="module")
def interrupted(stocked, tmp_path_factory):
    """interrupted(command) -> the folder in which it was stopped once; each runs once. Not to be
    changed."""
    known = {}

    def result(command: list) -> Path:
        if str(command) not in known:
            folder = shutil.copytree(stocked, tmp_path_factory.mktemp("interrupted") / "run")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                stop_after(patch, 7, signal.SIGTERM)
                assert call(*command).status == 143
            known[str(command)] = folder
        return known[str(command)]

    return result


@pytest.fixture
def stopped(stop_after):
    """stopped(command) -> the id of a process that runs it and is stopped in its second epoch."""
    children = []

    def begin(command: list) -> int:
        children.append(fork(*command, prepare=partial(stop_after, 7, signal.SIGSTOP)))
        assert os.WIFSTOPPED(os.waitpid(children[-1], os.WUNTRACED)[1])
        return children[-1]

    yield begin
    for child in children:  # a test that failed leaves it stopped
        with contextlib.suppress(ChildProcessError):  # it has been waited for
            os.waitpid(child, os.WNOHANG)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def go_on(child: int) -> None:
    os.kill(child, signal.SIGCONT)
    assert wait_for(child) == 0


def into(place: str, script: str, *options) -> list:
    """The command of a script, its results in the folder ``place``; the folder of weights is the
    same for all."""
    return [script, "--save", NAME, *COMMANDS[script], RESULTS_IN[script], place, *options]


# --- one name, two folders of results -------------------------------------------------------------


@scripts
def test_while_a_run_works_one_of_its_name_with_results_elsewhere_is_refused(
    script, folder, stopped, undisturbed
):
    child = stopped(into("one", script))
    before = snapshot(folder)
    for options in ([], ["--seed", 1], ["--resume"], ["--overwrite"]):
        assert_refused(
            call(*into("two", script, *options)),
            f"{NAME}@" if "--plot-dir" in RESULTS_IN[script] else NAME,
            "another process",
        )
        assert snapshot(folder) == before
    go_on(child)
    assert everything(folder) == undisturbed(into("one", script))


@pytest.mark.parametrize("script", WEIGHTS)
def test_weights_of_a_finished_training_are_not_replaced_by_one_of_other_settings(
    script, folder, made, undisturbed
):
    """Of the same settings they are: its weights are the same."""
    take(made(into("one", script)), folder)
    before = snapshot(folder)
    for options in ([], ["--resume"]):
        assert_refused(
            call(*into("two", script, "--seed", 1, *options)),
            f"saved_models/vgg/{WEIGHTS[script]}: begun with seed = 0, not 1",
        )
        assert snapshot(folder) == before
    succeed(*into("two", script, "--seed", 1, "--overwrite"))
    expected = undisturbed(into("one", script), into("two", script, "--seed", 1, "--overwrite"))
    assert everything(folder) == expected
    # is not of them any more, but stays
    assert json.loads((folder / "one" / "vgg" / f"{NAME}_6.json").read_text())["seed"] == 0
    assert_refused(call(*into("three", script)), WEIGHTS[script], "begun with seed = 1")
    succeed(*into("three", script, "--seed", 1))
    assert (
        everything(folder)[f"saved_models/vgg/{WEIGHTS[script]}"]
        == expected[f"saved_models/vgg/{WEIGHTS[script]}"]
    )


def test_two_base_networks_of_one_name_and_two_ratios_have_one_file_of_weights(folder, made):
    take(made(into("one", "train_norm.py")), folder)
    before = snapshot(folder)
    assert_refused(
        call(*into("one", "train_norm.py", "--ratio", 0.08)),
        "saved_models/vgg/run.pt: begun with",
        "--overwrite",
    )
    assert snapshot(folder) == before
    succeed(*into("one", "train_norm.py", "--ratio", 0.08, "--overwrite"))


def test_weights_that_do_not_say_what_they_were_begun_with_are_not_replaced(folder, made):
    """Those of an earlier version, whose result is gone."""
    take(made(into("one", "ratio_swipe.py")), folder)
    path, result = (
        folder / "saved_models" / "vgg" / "run@6.pt",
        folder / "one" / "vgg" / "run_6.json",
    )
    weights = read_tensors(path)
    del weights["begun_with"]
    write_tensors(path, weights)
    assert "finished before" in succeed(*into("one", "ratio_swipe.py"))
    result.unlink()
    before = snapshot(folder)
    assert_refused(call(*into("one", "ratio_swipe.py")), "run@6.pt", "--overwrite")
    assert snapshot(folder) == before


@scripts
def test_a_finished_run_leaves_the_unfinished_work_of_its_name_with_results_elsewhere(
    script, folder, stop_after, made, undisturbed
):
    take(made(into("one", script)), folder)
    stop_after(7, signal.SIGTERM)
    assert call(*into("two", script)).status == 143
    before = snapshot(folder)
    assert any(name.endswith(("@search.pt", "@unfinished.pt")) for name in before)
    for flags in ([], ["--resume"]):
        assert "finished before" in succeed(*into("one", script, *flags))
        assert snapshot(folder) == before
    assert "goes on" in succeed(*into("two", script, "--resume"))
    assert everything(folder) == undisturbed(into("one", script), into("two", script))


@scripts
def test_a_finished_run_removes_its_own_checkpoint_where_it_outlived_its_end(
    script, folder, interrupted
):
    """The process was killed between its result and the removal."""
    take(interrupted(into("one", script)), folder)
    [checkpoint] = [
        *folder.glob("saved_models/vgg/*@search.pt"),
        *folder.glob("saved_models/vgg/*@unfinished.pt"),
    ]
    content = checkpoint.read_bytes()
    succeed(*into("one", script, "--resume"))
    assert not checkpoint.exists()
    finished = snapshot(folder)
    checkpoint.write_bytes(content)
    assert "finished before" in succeed(*into("one", script))
    assert snapshot(folder) == finished


@scripts
def test_the_unfinished_work_of_a_run_with_results_elsewhere_is_not_taken_over(
    script, folder, interrupted, undisturbed
):
    """Not even of the same settings, nor by a search that is in a later iteration; only by
    --overwrite."""
    take(interrupted(into("two", script)), folder)
    before = snapshot(folder)
    for options in (["--resume"], []):
        assert_refused(
            call(*into("one", script, *options)), "two" if options else NAME, "--overwrite"
        )
        assert snapshot(folder) == before
    assert "goes on" in succeed(*into("two", script, "--resume"))
    assert everything(folder) == undisturbed(into("two", script))


def test_a_search_with_an_iteration_leaves_a_checkpoint_in_its_first_that_is_not_its_own(
    folder, stop_after
):
    search = into("one", "architecture_descent.py")
    succeed(*search, "--iterations", 1)
    stop_after(7, signal.SIGTERM)
    assert call(*into("two", "architecture_descent.py")).status == 143
    before = snapshot(folder)
    assert_refused(call(*search, "--resume"), "@search.pt", "two")
    assert snapshot(folder) == before


@scripts
def test_unfinished_work_that_was_moved_with_its_folder_is_gone_on_with(
    script, folder, stop_after, tmp_path_factory, monkeypatch
):
    stop_after(7, signal.SIGTERM)
    assert call(*into("one", script)).status == 143
    moved = tmp_path_factory.mktemp("moved") / "here"
    folder.rename(moved)
    monkeypatch.chdir(moved)
    assert "goes on" in succeed(*into("one", script, "--resume"))


@scripts
def test_a_damaged_checkpoint_is_no_obstacle_to_what_is_finished(script, folder, made):
    take(made(into("one", script)), folder)
    torn = (
        folder
        / "saved_models"
        / "vgg"
        / (
            f"{NAME}@search.pt"
            if script == "architecture_descent.py"
            else f"{NAME}{'' if script == 'train_norm.py' else '@6'}@unfinished.pt"
        )
    )
    torn.write_bytes(b"torn")
    assert "finished before" in succeed(*into("one", script))


# --- one name, several ratios ---------------------------------------------------------------------


def at(*ratios: float) -> list:
    return [
        "ratio_swipe.py",
        "--save",
        NAME,
        *DIGITS,
        "--uniform",
        "--epochs",
        4,
        "--ratios",
        *ratios,
    ]


def test_sweeps_of_one_name_work_at_different_ratios_at_once(folder, stopped, undisturbed):
    child = stopped(at(0.0625))
    succeed(*at(0.08, 0.1))
    before = snapshot(folder)
    for ratios in ([0.0625], [0.09, 0.0625], [0.0625, 0.09]):
        assert_refused(call(*at(*ratios)), "run_6", "another process")
        assert snapshot(folder) == before
    go_on(child)
    assert everything(folder) == undisturbed(at(0.0625, 0.08, 0.1))


# --- begin anew, or go on -------------------------------------------------------------------------


@scripts
@pytest.mark.parametrize("finished", [True, False])
def test_to_begin_anew_and_to_go_on_at_once_is_refused(script, finished, folder, made, interrupted):
    take((made if finished else interrupted)(into("one", script)), folder)
    before = snapshot(folder)
    for pair in (["--overwrite", "--resume"], ["--resume", "--overwrite"]):
        assert_refused(call(*into("one", script, *pair)), "--overwrite", "--resume")
        assert snapshot(folder) == before


# --- what an earlier version left -----------------------------------------------------------------

EARLIER_COMMANDS = {
    "found": ["architecture_descent.py", "--save", "found", *SEARCH, "--iterations", 2],
    "morphed": ["architecture_descent.py", "--save", "morphed", *SEARCH, "--morph"],
    "swept_0": [
        "ratio_swipe.py",
        "--save",
        "swept_0",
        *DIGITS,
        "--prune-fname",
        "found",
        "--ratios",
        0.0625,
        "--epochs",
        1,
    ],
    "uni_0": [
        "ratio_swipe.py",
        "--save",
        "uni_0",
        *DIGITS,
        "--uniform",
        "--ratios",
        0.0625,
        "--epochs",
        1,
    ],
    "base": ["train_norm.py", "--save", "base", *DIGITS, "--ratio", 0.0625, "--epochs", 1],
}
ONLY_DIGITS = ["--dataset", "digits"]


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> Path:
    """A copy, and the current folder, of what EARLIER_COMMANDS left then."""
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", EARLIER_COMMANDS)
def test_finished_work_of_an_earlier_version_is_finished(name, earlier):
    before = snapshot(earlier)
    assert sum(Path(path).name.startswith(name) for path in before) >= 1
    for flags in ([], ["--resume"]):
        assert "finished before" in succeed(*EARLIER_COMMANDS[name], *flags)
        assert snapshot(earlier) == before
    for other in (["--seed", 1], ["--lr", 0.07], ["--limit-train", 90]):
        assert_refused(call(*EARLIER_COMMANDS[name], *other), f"{name}", "begun with")
        assert snapshot(earlier) == before


def test_a_search_of_an_earlier_version_is_listed_and_plotted(earlier):
    record = json.loads(Path("prune_record/found.json").read_text())
    assert "rules" not in record and len(record["iterations"]) == 2
    outcome = call(
        "list_architecture.py",
        *ONLY_DIGITS,
        "--prune-fname",
        "found",
        "--ratios",
        0.0625,
        1,
        "--json",
    )
    assert outcome.status == 0 and outcome.err.startswith(
        "found: no power law was fitted in iteration 2 (--descent-idx 1)"
    )
    listed = json.loads(outcome.out)
    rows = [(row["ratio"], row["iteration"]) for row in listed["architectures"]]
    assert rows == [(0.0625, 0), (0.0625, 1), (1, 0), (1, 1)]
    trained = json.loads(Path("saved_plots/vgg/swept_0_6.json").read_text())
    assert (
        listed["architectures"][1]["filters"] == trained["filters"]
        and listed["architectures"][1]["params"] == trained["params"]
    )
    listed = json.loads(
        succeed(
            "list_architecture.py",
            *ONLY_DIGITS,
            "--prune-fname",
            "morphed",
            "--ratios",
            0.5,
            "--json",
        )
    )
    assert [len(row["filters"]) for row in listed["architectures"]] == [8]
    for name in ("found", "morphed"):
        succeed("plot_filters.py", *ONLY_DIGITS, "--prune-fname", name)
        assert (
            earlier / "saved_plots" / "vgg" / f"digits_{name}_residual_filters.png"
        ).stat().st_size > 10_000


def test_a_search_of_an_earlier_version_is_swept(earlier):
    """At the ratio that was trained then it gives the same network; MorphNet's has the last row of
    its search."""
    for name, options in (
        ("again_0", ["--prune-fname", "found"]),
        ("own", ["--morph", "--prune-fname", "morphed"]),
    ):
        succeed(
            "ratio_swipe.py", "--save", name, *DIGITS, *options, "--ratios", 0.0625, "--epochs", 1
        )
    then, now, own = (
        json.loads(Path(f"saved_plots/vgg/{name}_6.json").read_text())
        for name in ("swept_0", "again_0", "own")
    )
    assert all(
        now[key] == then[key]
        for key in ("method", "filters", "params", "macs", "images", "test_images")
    )
    assert (now["origin"]["search"], now["origin"]["iteration"]) == ("found", 1) and own[
        "method"
    ] == "morphnet"


def test_results_of_an_earlier_version_are_compared(earlier):
    lines = succeed("plot_ratio.py", *ONLY_DIGITS, "--runs", "mine=swept", "plain=uni").splitlines()
    for label, name in (("mine", "swept_0"), ("plain", "uni_0")):
        result = json.loads(Path(f"saved_plots/vgg/{name}_6.json").read_text())
        assert "origin" not in result and "threads" not in result
        [row] = [line.split() for line in lines if line.startswith(f"{label} ")]
        assert row[1:3] == ["0.0625", f"{result['params']:,}"] and row[4] == f"{result['best']:.2f}"
    assert (earlier / "saved_plots" / "vgg" / "digits_accuracy_params.png").exists()


def test_an_unfinished_search_of_an_earlier_version_is_not_gone_on_with(earlier):
    """Two of three iterations: the third would be pruned by other rules."""
    more = [*EARLIER_COMMANDS["found"], "--iterations", 3]
    before = snapshot(earlier)
    for flags in ([], ["--resume"]):
        assert_refused(
            call(*more, *flags),
            "found.json",
            "begun by a version that pruned one epoch later",
            "--overwrite",
        )
        assert snapshot(earlier) == before
    succeed(*more, "--overwrite")
    assert json.loads(Path("prune_record/found.json").read_text())["rules"] == 2


def test_a_checkpoint_of_an_earlier_versions_search_is_not_gone_on_with(folder, interrupted):
    command = into("one", "architecture_descent.py")
    take(interrupted(command), folder)
    path = folder / "saved_models" / "vgg" / "run@search.pt"
    saved = read_tensors(path)
    assert saved["begun_with"].pop("rules") == 2
    write_tensors(path, saved)
    before = snapshot(folder)
    assert_refused(
        call(*command, "--resume"),
        path.name,
        "begun by a version that pruned one epoch later",
        "--overwrite",
    )
    assert snapshot(folder) == before


def test_a_training_that_an_earlier_version_began_is_gone_on_with(folder, interrupted, undisturbed):
    """Its checkpoint has neither the milestones, which were the data set's, nor the number of the
    epoch, which its curve tells."""
    expected = undisturbed(into("one", "train_norm.py"))
    take(interrupted(into("one", "train_norm.py")), folder)
    path = folder / "saved_models" / "vgg" / "run@unfinished.pt"
    saved = read_tensors(path)
    assert len(saved["curve"]["test_acc"]) == saved.pop("epoch") == 3 and saved["begun_with"].pop(
        "milestones"
    )
    del saved["result"]
    torch.save(saved, path)
    assert "goes on at epoch 3" in succeed(*into("one", "train_norm.py", "--resume"))
    assert everything(folder) == expected
