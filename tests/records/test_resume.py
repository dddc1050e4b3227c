"""A run that is killed, stopped or started twice loses nothing: what it ends with is what an
undisturbed run ends with."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
from functools import cache

import pytest
from running import (
    DIGITS,
    assert_refused,
    call,
    everything,
    fork,
    snapshot,
    start,
    stop_after,
    succeed,
    take,
    wait_for,
)

from utils.records.files import write_json

pytestmark = pytest.mark.slow

# The scripts that train, small: 4 checkpoints and more each. `found` is a search and `base` a base network,
# in every folder.
COMMANDS = {
    "architecture_descent.py": [
        *DIGITS,
        "--ratio",
        0.0625,
        "--epochs",
        5,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--prune-step",
        5,
        "--batch-size",
        20,
        "--iterations",
        2,
    ],
    "ratio_swipe.py": [*DIGITS, "--prune-fname", "found", "--ratios", 0.0625, 0.08, "--epochs", 4],
    "train_norm.py": [*DIGITS, "--ratio", 0.08, "--epochs", 4],
    "fine_tune.py": [*DIGITS, "--prune-fname", "base", "--ratio", 0.0625, "--epochs", 4],
    "prune.py": [
        *DIGITS,
        "--weights",
        "saved_models/vgg/base.pt",
        "--target",
        "40%",
        "--epochs",
        5,
        "--prune-part",
        0.6,
    ],
}
OTHER_SETTINGS = {
    "architecture_descent.py": [
        "--seed 1",
        "--ratio 0.08",
        "--epochs 6",
        "--warmup 1",
        "--lr 0.05",
        "--batch-size 25",
        "--limit-train 90",
        "--prune-step 9",
        "--morph",
        "--no-compact",
        "--iterations 1",
        "--budget macs",
        "--model resnet18 --ratio 0.25",
    ],
    "ratio_swipe.py": [
        "--seed 1",
        "--epochs 5",
        "--lr 0.05",
        "--limit-train 90",
        "--limit-test 40",
        "--momentum 0.9",
        "--convcut",
        "--prune-fname other",
        "--batch-size 25",
    ],
    "train_norm.py": [
        "--seed 1",
        "--epochs 9",
        "--weight-decay 0",
        "--limit-test 40",
        "--ratio 0.0625",
    ],
    "fine_tune.py": ["--seed 1", "--epochs 9", "--lr 0.01", "--prune-fname other_base"],
    "prune.py": [
        "--seed 1",
        "--epochs 9",
        "--milestones 0.5",
        "--weights saved_models/vgg/other_base.pt",
        "--criterion random",
        "--uniform",
        "--min-width 3",
        "--keep 2.conv",
        "--round-to 2",
        "--prune-part 0.5",
        "--prune-rounds 3",
    ],
}
KILLS = 3
NAME = "run"
scripts = pytest.mark.parametrize("script", COMMANDS)


def named(script: str, name: str = NAME) -> list:
    return [script, "--save", name, *COMMANDS[script]]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with what the scripts start from."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, search, base in ((0, "found", "base"), (1, "other", "other_base")):
            succeed(*named("architecture_descent.py", search), "--iterations", 1, "--seed", seed)
            succeed(
                "train_norm.py",
                "--save",
                base,
                *DIGITS,
                "--ratio",
                0.08,
                "--epochs",
                1,
                "--seed",
                seed,
            )
    return folder


@pytest.fixture(scope="module")
def made(stocked, tmp_path_factory):
    """made(script) -> the folder in which it has ended; each script runs once. Not to be changed."""

    @cache
    def result(script: str, name: str = NAME, *options):
        folder = shutil.copytree(stocked, tmp_path_factory.mktemp("made") / "run")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            succeed(*named(script, name), *options)
        return folder

    return result


@pytest.fixture(scope="module")
def undisturbed(made):
    """undisturbed(script) -> all that it leaves in the folder."""
    return cache(lambda script, name=NAME: everything(made(script, name)))


@pytest.fixture(scope="module")
def interrupted(stocked, tmp_path_factory):
    """interrupted(script) -> the folder in which it was stopped once. Not to be changed."""

    @cache
    def result(script: str):
        folder = shutil.copytree(stocked, tmp_path_factory.mktemp("interrupted") / "run")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            stop_after(patch, 7, signal.SIGTERM)
            assert call(*named(script)).status == 143
        return folder

    return result


# --- killed ---------------------------------------------------------------------------------------


@scripts
def test_killed_at_random_moments_and_resumed_it_ends_the_same(
    script, stocked, tmp_path, undisturbed
):
    """kill -9 of a process, three times and more, anywhere between its first line and its end."""
    moments, kills, lives = random.Random(script), 0, 0
    while kills < KILLS:
        folder, deaths, undone = shutil.copytree(stocked, tmp_path / f"life_{lives}"), 0, True
        while undone:
            # later and later, so that a busy machine gets done too
            delay = moments.uniform(0, 0.4) * 1.2**deaths
            undone = start_and_kill(script, folder, delay if kills + deaths < KILLS else None)
            deaths += undone
        assert everything(folder) == undisturbed(script)
        kills, lives = kills + deaths, lives + 1
    print(f"{script}: killed {kills} times, finished {lives} times")


def start_and_kill(script: str, folder, delay: float | None) -> bool:
    """Resumes the script and kills it ``delay`` seconds after its first line. False if it ended
    well before that."""
    with start(*named(script), "--resume", cwd=folder, stderr=subprocess.STDOUT) as process:
        # the settings, when the data are there
        assert any(script in line for line in process.stdout)
        try:
            out, _ = process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    assert process.returncode == 0, out
    return False


@scripts
def test_killed_around_each_writing_of_a_file_and_resumed_it_ends_the_same(
    script, folder, undisturbed
):
    """kill -9 of a fork of this process, right before or after it puts its next file, or the one
    after, in place."""
    call(*named(script), "--batch-size", 5000)  # loads what the script imports
    deaths = 0
    while killed_at_file(
        script, *[(1, "before"), (1, "after"), (2, "before"), (2, "after")][deaths % 4]
    ):
        deaths += 1
        assert deaths < 50
    assert deaths >= 6
    assert everything(folder) == undisturbed(script)


def killed_at_file(script: str, number: int, when: str) -> bool:
    """Resumes the script in a fork that kills itself at its ``number``-th os.replace. False if it
    ended before that."""

    def prepare() -> None:
        replace, seen = os.replace, []

        def replace_and_die(source, target):
            if target.suffix not in (".json", ".csv", ".pt"):  # not a file to stay
                return replace(source, target)
            seen.append(target)
            if len(seen) < number or when == "after":
                replace(source, target)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace_and_die

    status = wait_for(fork(*named(script), "--resume", prepare=prepare))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_remains_of_a_killed_write_disturb_no_reader(folder):
    """The torn temporary file of a result: plotting the runs on a data set of one's own reads every
    result there is."""
    name = "own"
    for part in ("train", "test"):
        for label in "ab":
            (folder / name / part / label).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: os._exit(0) if os.getpid() != parent else None)
        parent, child = os.getpid(), os.fork()
        if child == 0:
            write_json(folder / "saved_plots" / "vgg" / "torn_25.json", {"model": "vgg"})
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    remains = [path for path in (folder / "saved_plots" / "vgg").iterdir() if "torn" in path.name]
    assert len(remains) == 1
    remains[0].write_text('{"model": "vgg", "data')
    assert_refused(call("plot_ratio.py", "--dataset", folder / name), "no images in a, b")


# --- stopped --------------------------------------------------------------------------------------


def advice(outcome) -> list[str]:
    """The command that a stopped run says to go on with: script and arguments."""
    assert len(outcome.err.splitlines()) == 1
    return shlex.split(re.search(r"Go on with: python3 (.*)", outcome.err)[1])


@scripts
@pytest.mark.parametrize(
    "which, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_stopped_it_says_how_to_resume_and_then_ends_the_same(
    script, which, status, folder, undisturbed, stop_after
):
    stop_after(7, which)
    stopped = call(*named(script))
    assert stopped.status == status
    assert not any(
        ".tmp" in name or name.endswith(".lock")
        for name in os.listdir(folder / "saved_plots" / "vgg")
    )
    resumed = succeed(*advice(stopped))
    assert "goes on" in resumed
    assert everything(folder) == undisturbed(script)


@pytest.mark.parametrize(
    "script, which, status",
    [("architecture_descent.py", signal.SIGINT, 130), ("ratio_swipe.py", signal.SIGTERM, 143)],
)
def test_a_stopped_process_has_the_usual_status(script, which, status, folder):
    with start(*named(script), "--epochs", 500, cwd=folder, fresh=True) as process:
        for line in process.stdout:
            if "epoch 1" in line:
                process.send_signal(which)
                break
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert len(err.splitlines()) == 1 and "--resume" in err


@scripts
def test_the_advice_after_stopping_a_run_begun_with_overwrite_does_not_overwrite_again(
    script, folder, made, undisturbed, stop_after
):
    take(made(script, NAME, "--seed", 5), folder)
    stop_after(7, signal.SIGTERM)
    stopped = call(*named(script), "--overwrite")
    assert stopped.status == 143
    assert "goes on" in succeed(*advice(stopped))
    assert everything(folder) == undisturbed(script)


# --- started again --------------------------------------------------------------------------------


@scripts
def test_an_interrupted_name_is_refused_without_resume(script, folder, interrupted):
    take(interrupted(script), folder)
    before = snapshot(folder)
    assert_refused(call(*named(script)), NAME, "--resume", "--overwrite")
    assert snapshot(folder) == before


@scripts
def test_an_interrupted_run_is_not_resumed_with_other_settings(
    script, folder, undisturbed, interrupted
):
    take(interrupted(script), folder)
    before = snapshot(folder)
    for other in OTHER_SETTINGS[script][:3]:
        assert_refused(call(*named(script), *other.split(), "--resume"), NAME, "begun with")
        assert snapshot(folder) == before, other
    succeed(*named(script), "--resume")
    assert everything(folder) == undisturbed(script)


@scripts
def test_finished_work_is_left_alone_and_said_to_be_finished(script, folder):
    succeed(*named(script))
    before = snapshot(folder)
    for flags in ([], ["--resume"]):
        assert "finished before" in succeed(*named(script), *flags)
        assert snapshot(folder) == before


@scripts
def test_finished_work_of_other_settings_is_refused_and_untouched(script, folder, made):
    take(made(script), folder)
    before = snapshot(folder)
    for other in OTHER_SETTINGS[script]:
        for flags in ([], ["--resume"]):
            assert_refused(call(*named(script), *other.split(), *flags), NAME)
            assert snapshot(folder) == before, other


@scripts
def test_overwrite_begins_anew(script, folder, made, undisturbed):
    take(made(script, NAME, "--seed", 5), folder)
    assert everything(folder) != undisturbed(script)
    succeed(*named(script), "--overwrite")
    assert everything(folder) == undisturbed(script)


def test_more_iterations_go_on_from_the_finished_ones(folder, undisturbed):
    succeed(*named("architecture_descent.py"), "--iterations", 1)
    assert_refused(call(*named("architecture_descent.py")), "--resume")
    succeed(*named("architecture_descent.py"), "--resume")
    assert everything(folder) == undisturbed("architecture_descent.py")


def test_overwrite_of_one_search_leaves_one_whose_name_begins_alike(folder, made):
    """The rows of `run` are run_0.csv, run_1.csv; those of the search `run_1` are run_1_0.csv,
    run_1_1.csv."""
    for name in ("run", "run_1"):
        take(made("architecture_descent.py", name), folder)
    others = {
        name: content
        for name, content in snapshot(folder).items()
        if "run_1_" in name or "run_1.json" in name
    }
    assert len(others) == 3
    succeed(*named("architecture_descent.py", "run"), "--overwrite")
    assert others.items() <= snapshot(folder).items()


@scripts
def test_overwrite_deletes_nothing_before_the_new_run_can_begin(script, folder, made):
    take(made(script), folder)
    before = snapshot(folder)
    for mistake in ("--dataset nowhere", "--device nonsense", "--batch-size 5000"):
        assert_refused(call(*named(script), "--overwrite", *mistake.split()))
        assert snapshot(folder) == before, mistake


# --- two at once ----------------------------------------------------------------------------------


@scripts
def test_a_name_that_another_process_works_under_is_refused(
    script, folder, undisturbed, stop_after
):
    child = fork(*named(script), prepare=lambda: stop_after(7, signal.SIGSTOP))
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    for flags in ([], ["--resume"], ["--overwrite"]):
        assert_refused(call(*named(script), *flags), NAME, "another process")
    os.kill(child, signal.SIGCONT)
    assert wait_for(child) == 0
    assert everything(folder) == undisturbed(script)


def test_names_at_once_in_one_folder_do_not_touch_each_other(folder, undisturbed):
    """Also where one name begins with the other, and where a search and a sweep share one."""
    pairs = [
        ("architecture_descent.py", "run"),
        ("architecture_descent.py", "run_1"),
        ("ratio_swipe.py", "run"),
    ]
    expected = {}
    for pair in pairs:
        expected |= undisturbed(*pair)
    assert [wait_for(child) for child in [fork(*named(*pair)) for pair in pairs]] == [0, 0, 0]
    assert everything(folder) == expected


def test_a_base_network_leaves_the_unfinished_work_of_a_search_with_its_name(
    folder, undisturbed, interrupted
):
    take(interrupted("architecture_descent.py"), folder)
    succeed(*named("train_norm.py"))
    succeed(*named("architecture_descent.py"), "--resume")
    assert everything(folder) == undisturbed("architecture_descent.py") | undisturbed(
        "train_norm.py"
    )


def test_a_run_named_like_another_ones_ratio_shares_no_file_with_it(
    folder, undisturbed, stop_after
):
    """The sweep `run` at ratio 0.08, and the base network `run_8`, one begun in the middle of the
    other."""
    stop_after(6, signal.SIGTERM)
    assert call(*named("train_norm.py", "run_8")).status == 143
    succeed(*named("ratio_swipe.py", "run"))
    succeed(*named("train_norm.py", "run_8"), "--resume")
    assert everything(folder) == undisturbed("ratio_swipe.py", "run") | undisturbed(
        "train_norm.py", "run_8"
    )
