"""A full disk, as a limit on the size of files: the last good file survives, nothing half-written
stays, exit status 2."""

import contextlib
import os
import resource
import shutil

import pytest
import torch
from running import DIGITS, assert_refused, call, everything, run, snapshot, succeed

from utils.errors import UserError
from utils.figures import style
from utils.records import files

# bytes: enough for a lock, a short record and what the tests print; too little for weights
SMALL = 3000
# Each script with more epochs than it needs to have something unfinished.
COMMANDS = {
    "architecture_descent.py": [
        *DIGITS,
        "--ratio",
        0.0625,
        "--epochs",
        4,
        "--warmup",
        1,
        "--prune-every",
        1,
        "--iterations",
        1,
    ],
    "ratio_swipe.py": [*DIGITS, "--uniform", "--ratios", 0.0625, "--epochs", 3],
    "train_norm.py": [*DIGITS, "--ratio", 0.0625, "--epochs", 3],
    "fine_tune.py": [*DIGITS, "--prune-fname", "base", "--ratio", 0.0625, "--epochs", 3],
}


@contextlib.contextmanager
def no_file_longer_than(size: int):
    """In this process (where Python ignores SIGXFSZ, so that a longer write fails with "File too
    large")."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def draw(path, points):
    fig, axes = style.figure()
    axes.plot(points)
    style.save(fig, path)


WRITERS = {
    "record.json": (files.write_json, {"iterations": []}, {"iterations": list(range(9999))}),
    "rows.csv": (files.write_rows, [[1, 2, 3]], [[1, 2, 3]] * 9999),
    "text.txt": (files.write_text, "good", "x" * 9999),
    "weights.pt": (files.write_tensors, {"a": torch.zeros(2)}, {"a": torch.zeros(9999)}),
    "plot.png": (draw, [1, 2], [2, 1]),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("limit", [0, 1, SMALL])
def test_the_last_good_file_survives_and_nothing_else_stays(name, limit, tmp_path):
    write, good, too_large = WRITERS[name]
    path = tmp_path / name
    write(path, good)
    before = snapshot(tmp_path)
    with (
        no_file_longer_than(limit),
        pytest.raises(UserError, match=f"{name}.*(File too large|can't be written)"),
    ):
        write(path, too_large)
    assert snapshot(tmp_path) == before


def test_nothing_stays_of_a_file_that_was_not_there_before(tmp_path):
    for name, (write, _, too_large) in WRITERS.items():
        with no_file_longer_than(SMALL), pytest.raises(UserError, match=name):
            write(tmp_path / name, too_large)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for name, (write, good, _) in WRITERS.items():
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            # both are one line to a user
            with pytest.raises((UserError, OSError), match=str(tmp_path / "file")):
                write(folder / name, good)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_script_stops_at_the_first_file_and_goes_on_when_there_is_room(
    script, folder, tmp_path_factory, monkeypatch
):
    command = [script, "--save", "run", *COMMANDS[script]]
    undisturbed = shutil.copytree(folder, tmp_path_factory.mktemp("undisturbed") / "run")
    with monkeypatch.context() as patch:
        patch.chdir(undisturbed)
        succeed(*command)
    for written in (1, 2):  # room for so many checkpoints
        before = snapshot(folder)
        with monkeypatch.context() as patch:
            full_after(written - 1, patch)
            assert_refused(call(*command, "--resume"), "run", "untouched")
        left = snapshot(folder)
        assert len(left) <= len(before) + 1 and before.keys() <= left.keys()
        assert not any(".tmp" in name for name in left)
    succeed(*command, "--resume")
    assert everything(folder) == everything(undisturbed)


def full_after(count: int, patch) -> None:
    """Lets ``count`` files of tensors be written; then the disk is full."""
    write, written = files.write_tensors, []

    def write_while_there_is_room(path, content):
        written.append(path)
        with no_file_longer_than(SMALL) if len(written) > count else contextlib.nullcontext():
            write(path, content)

    # of checkpoints, of finished weights
    for writer in ("utils.records.run", "utils.training.train"):
        patch.setattr(f"{writer}.write_tensors", write_while_there_is_room)


def test_a_real_process_ends_with_status_2_and_one_line(folder):
    command = ["ratio_swipe.py", "--save", "run", *COMMANDS["ratio_swipe.py"]]
    before = snapshot(folder)
    assert_refused(
        run(*command, cwd=folder, largest_file=SMALL), "run@6@unfinished.pt", "untouched"
    )
    assert snapshot(folder) == before
    succeed(*command)


def test_a_full_standard_output_is_one_line_and_status_2(tmp_path):
    with open("/dev/full", "w") as full:
        outcome = run(
            "list_architecture.py",
            "--prune-fname",
            "published",
            "--ratios",
            0.25,
            cwd=tmp_path,
            fresh=True,
            stdout=full,
        )
    assert_refused(outcome)


def test_a_reader_that_goes_away_ends_a_script_quietly(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        outcome = run(
            "list_architecture.py",
            "--prune-fname",
            "published",
            "--json",
            cwd=tmp_path,
            fresh=True,
            stdout=pipe,
        )
    assert outcome.status == 141 and not outcome.err
