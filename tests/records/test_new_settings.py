"""A setting that is new changes nothing: stored work that does not say it has its default, whatever
file it is in."""

import json
from pathlib import Path

import pytest
import torch
from running import DIGITS, assert_refused, call, everything, snapshot, succeed

SEARCH = [
    "architecture_descent.py",
    "--save",
    "found",
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
    2,
]
SWEEP = [
    "ratio_swipe.py",
    "--save",
    "done_0",
    "--uniform",
    *DIGITS,
    "--ratios",
    0.0625,
    "--epochs",
    3,
]
BASE = ["train_norm.py", "--save", "base", *DIGITS, "--ratio", 0.0625, "--epochs", 3]
TUNE = [
    "fine_tune.py",
    "--save",
    "tuned_0",
    "--prune-fname",
    "base",
    *DIGITS,
    "--ratio",
    0.05,
    "--epochs",
    2,
]
FLOORS = ["min_width", "keep"]
# a command, what it ends with, settings that are taken out of its files, and another value of one
# of them
NEW = {
    "search": (
        SEARCH,
        "prune_record/found.json",
        [
            "amp",
            "compact",
            "budget",
            "cost_exponent",
            "cost_at",
            "fit_rows",
            "validate",
            "flip",
            *FLOORS,
        ],
        ["--no-compact"],
        "compact",
    ),
    "sweep": (
        SWEEP,
        "saved_plots/vgg/done_0_6.json",
        ["amp", "milestones", "budget", "crop", "flip", "rotation", "round_to", *FLOORS],
        ["--amp"],
        "amp",
    ),
    "base": (
        BASE,
        "saved_plots/vgg/base_6.json",
        ["amp", "milestones", "momentum", "budget", "validate"],
        ["--momentum", 0.9],
        "momentum",
    ),
    "fine-tuning": (
        TUNE,
        "saved_plots/vgg/tuned_0_5.json",
        ["lr", "milestones", "budget", "crop", "rotation", *FLOORS],
        ["--lr", 0.1],
        "lr",
    ),
}
kinds = pytest.mark.parametrize("kind", NEW)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """Finished work of each script, and beside it, in kept/, the checkpoints that were written on
    the way."""
    folder = tmp_path_factory.mktemp("stocked")
    unlink = Path.unlink
    (folder / "kept").mkdir()

    def keep(path, **more):
        if "@" in path.name and path.exists():
            path.rename(folder / "kept" / f"{path.name}.{len(list((folder / 'kept').iterdir()))}")
        unlink(path, missing_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Path, "unlink", keep)
        for command, *_ in NEW.values():
            succeed(*command)
    return folder


def forget(path: Path, names: list[str]) -> None:
    """Takes settings out of a record, a result or a checkpoint: everywhere that it says them."""
    content = (
        json.loads(path.read_text())
        if path.suffix == ".json"
        else torch.load(path, weights_only=True)
    )
    places = [
        part for part in (content, content.get("settings"), content.get("begun_with")) if part
    ]
    assert all(any(name in part for part in places) for name in names)
    for part in places:
        for name in names:
            part.pop(name, None)
    path.write_text(json.dumps(content)) if path.suffix == ".json" else torch.save(content, path)


@kinds
def test_finished_work_is_still_finished_and_another_value_still_refused(kind, folder):
    command, name, new, other, called = NEW[kind]
    forget(folder / name, new)
    before = snapshot(folder)
    assert "finished before, with these settings" in succeed(*command)
    assert_refused(call(*command, *other), name, f"begun with {called} = ")
    assert snapshot(folder) == before


@kinds
def test_interrupted_work_goes_on(kind, folder):
    command, name, new, other, called = NEW[kind]
    undisturbed = everything(folder)
    *_, checkpoint = sorted(
        (
            path
            for path in (folder / "kept").iterdir()
            if path.name.startswith(
                {
                    "search": "found@",
                    "sweep": "done_0@",
                    "base": "base@",
                    "fine-tuning": "tuned_0@",
                }[kind]
            )
        ),
        key=lambda path: path.stat().st_mtime,
    )
    if kind == "search":  # interrupted in its last iteration
        record = json.loads((folder / name).read_text())
        del record["iterations"][-1]
        (folder / name).write_text(json.dumps(record))
        forget(folder / name, new)
    else:
        (folder / name).unlink()
        (folder / "saved_models/vgg" / f"{checkpoint.name.partition('@unfinished')[0]}.pt").unlink()
    interrupted = folder / "saved_models/vgg" / checkpoint.name.rpartition(".")[0]
    interrupted.write_bytes(checkpoint.read_bytes())
    forget(interrupted, new)
    before = snapshot(folder)
    assert_refused(call(*command, "--resume", *other), f"begun with {called} = ")
    assert snapshot(folder) == before
    assert "goes on " in succeed(*command, "--resume")
    assert everything(folder) == undisturbed


@pytest.mark.parametrize("kind", ["sweep", "base", "fine-tuning"])
def test_weights_without_a_result_are_replaced_by_the_same_and_by_no_other(kind, folder):
    command, name, new, other, called = NEW[kind]
    weights = (
        folder
        / "saved_models/vgg"
        / {"sweep": "done_0@6.pt", "base": "base.pt", "fine-tuning": "tuned_0@5.pt"}[kind]
    )
    (folder / name).unlink()
    undisturbed = everything(folder)
    forget(weights, new)
    before = snapshot(folder)
    assert_refused(call(*command, *other), weights.name, f"begun with {called} = ")
    assert snapshot(folder) == before
    succeed(*command)
    (folder / name).unlink()
    assert everything(folder) == undisturbed


# --- what earlier versions did not say ------------------------------------------------------------


def as_before(path: Path) -> None:
    """A record or a result, or weights, without what only later versions write."""
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        del content["begun_with"]
        torch.save(content, path)
        return
    content = json.loads(path.read_text())
    for name in ("threads", "commit", "rules" if "iterations" in content else "origin"):
        del content[name]
    for entry in content.get("iterations", []):
        del entry["fit"]
    path.write_text(json.dumps(content))


@kinds
def test_finished_work_of_an_earlier_version_is_finished_and_used(kind, folder):
    command, name, _, other, called = NEW[kind]
    for path in (
        name,
        *(f"saved_models/vgg/{weights}.pt" for weights in ("base", "done_0@6", "tuned_0@5")),
    ):
        as_before(folder / path)
    before = snapshot(folder)
    assert "finished before, with these settings" in succeed(*command)
    assert_refused(call(*command, *other), name, f"begun with {called} = ")
    assert snapshot(folder) == before
    if kind == "search":
        succeed(
            "ratio_swipe.py",
            "--save",
            "eff_0",
            "--prune-fname",
            "found",
            *DIGITS,
            "--ratios",
            0.0625,
            "--epochs",
            1,
        )
        succeed(
            "list_architecture.py",
            "--prune-fname",
            "found",
            "--dataset",
            "digits",
            "--ratios",
            0.0625,
        )
    elif kind == "base":
        succeed(
            "fine_tune.py",
            "--save",
            "more_0",
            "--prune-fname",
            "base",
            *DIGITS,
            "--ratio",
            0.05,
            "--epochs",
            1,
        )
    else:
        succeed(
            "plot_ratio.py",
            "--dataset",
            "digits",
            "--runs",
            f"mine={'done' if kind == 'sweep' else 'tuned'}",
        )


def test_an_unfinished_search_of_an_earlier_version_is_not_gone_on_with(folder):
    command, name, *_ = NEW["search"]
    record = json.loads((folder / name).read_text())
    del record["iterations"][-1]
    (folder / name).write_text(json.dumps(record))
    as_before(folder / name)
    before = snapshot(folder)
    assert_refused(call(*command, "--resume"), name, "one epoch later", "--overwrite")
    assert snapshot(folder) == before
    (folder / name).unlink()  # interrupted in its first iteration: there is a checkpoint alone
    checkpoint = next(
        path for path in (folder / "kept").iterdir() if path.name.startswith("found@")
    )
    interrupted = folder / "saved_models/vgg/found@search.pt"
    interrupted.write_bytes(checkpoint.read_bytes())
    forget(interrupted, ["rules"])
    before = snapshot(folder)
    assert_refused(call(*command, "--resume"), interrupted.name, "one epoch later", "--overwrite")
    assert snapshot(folder) == before


def test_weights_that_do_not_say_their_settings_are_not_replaced(folder):
    command, name, *_ = NEW["sweep"]
    weights = folder / "saved_models/vgg/done_0@6.pt"
    (folder / name).unlink()
    as_before(weights)
    before = snapshot(folder)
    assert_refused(call(*command), weights.name, "--overwrite")
    assert snapshot(folder) == before
    succeed(*command, "--overwrite")
    assert torch.load(weights, weights_only=True)["begun_with"]["seed"] == 0
