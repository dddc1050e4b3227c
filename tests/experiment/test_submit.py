"""A whole experiment with one command: its jobs from its settings, how far they are, and running
them on this machine."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import (
    EXPERIMENT,
    REPOSITORY,
    assert_refused,
    call,
    everything,
    snapshot,
    start,
    succeed,
)

from utils.errors import UserError
from utils.experiment import local, slurm, work
from utils.experiment.planner import jobs_of
from utils.experiment.state import JobState, Queued, state_of, states_of, table
from utils.records.locks import exclusive
from utils.settings import Cluster, Experiment, Machine, Places
from utils.training.progress import Progress

pytestmark = pytest.mark.usefixtures("here", "one_thread")

SEARCH = [
    "ratio=0.0625",
    "epochs=3",
    "warmup=0",
    "prune-every=1",
    "prune-step=5",
    "batch-size=20",
    "iterations=1",
]


def jobs(**asked):
    return jobs_of(
        Experiment(
            **{
                "dataset": "digits",
                "methods": ("uniform",),
                "seeds": (0,),
                "ratios": (0.125,),
                **asked,
            }
        ),
        Places(),
        Machine(),
    )


# --- the jobs -------------------------------------------------------------------------------------


def test_an_experiment_is_the_command_lines_of_the_readme():
    printed = succeed(
        "submit.py",
        "--model",
        "vgg",
        "--dataset",
        "CIFAR100",
        "--search",
        "filename",
        "--dry-run",
        "--seeds",
        0,
        "--ratios",
        0.25,
        1,
        "--methods",
        "neuralscale",
        "neuralscale_1",
        "uniform",
        "morph",
        "magnitude",
    ).splitlines()
    on = "--model vgg --dataset CIFAR100 --save"
    assert printed == [
        f"python3 {line} --resume"
        for line in (
            f"architecture_descent.py {on} filename",
            f"train_norm.py {on} vgg_standard_c100",
            f"ratio_swipe.py {on} vgg_10_eff_c100_late_0 --prune-fname filename --ratios 0.25",
            f"ratio_swipe.py {on} vgg_10_eff_c100_late_0 --prune-fname filename --ratios 1",
            f"ratio_swipe.py {on} vgg_10_eff_c100_early_0 --prune-fname filename --descent-idx "
            "0 --ratios 0.25",
            f"ratio_swipe.py {on} vgg_10_eff_c100_early_0 --prune-fname filename --descent-idx "
            "0 --ratios 1",
            f"ratio_swipe.py {on} vgg_uni_c100_0 --uniform --ratios 0.25",
            f"ratio_swipe.py {on} vgg_uni_c100_0 --uniform --ratios 1",
            f"ratio_swipe.py {on} vgg_pruned_c100_0 --morph --ratios 0.25",
            f"ratio_swipe.py {on} vgg_pruned_c100_0 --morph --ratios 1",
            f"fine_tune.py {on} vgg_norm_c100_0 --prune-fname vgg_standard_c100 --ratio 0.25",
        )
    ]
    assert os.listdir() == []


def test_the_papers_curve_is_a_search_and_160_trainings():
    found = jobs(
        dataset="CIFAR100",
        search="filename",
        methods=("neuralscale", "neuralscale_1", "uniform", "morph"),
        ratios=None,
        seeds=(0, 1, 2, 3, 4),
    )
    assert (
        len(found) == 161
        and len({job.key for job in found}) == len({job.result for job in found}) == 161
    )
    assert all(job.needs is found[0] for job in found if "eff" in job.name)


def test_no_search_is_begun_for_what_was_published():
    assert [
        job.script
        for job in jobs(dataset="CIFAR100", search="published", methods=("neuralscale", "morph"))
    ] == ["ratio_swipe.py"] * 2


def test_settings_reach_the_jobs_that_they_are_for():
    lines = {
        line.split()[1]: line
        for line in succeed(
            "submit.py",
            *EXPERIMENT,
            "--search",
            "s",
            "--morph-search",
            "m",
            "--methods",
            "neuralscale",
            "morph",
            "magnitude",
            "--seeds",
            3,
            "--ratios",
            0.125,
            "--search-with",
            "warmup=2",
            "no-compact",
            "--train-with",
            "epochs=7",
            "amp",
            "--tune-with",
            "lr=0.01",
            "--budget",
            "macs",
            "--plot-dir",
            "a b",
            "--device",
            "cpu",
            "--dry-run",
        ).splitlines()
    }
    assert (
        "--no-compact" in lines["architecture_descent.py"]
        and "--warmup 2" in lines["architecture_descent.py"]
    )
    assert (
        "--morph" in lines["architecture_descent.py"]
        and "--epochs" not in lines["architecture_descent.py"]
    )
    for script in ("train_norm.py", "ratio_swipe.py"):
        assert "--epochs 7 --amp" in lines[script] or "--amp --epochs 7" in lines[script], lines[
            script
        ]
    assert (
        "--lr 0.01" in lines["fine_tune.py"]
        and "--epochs" not in lines["fine_tune.py"]
        and "--amp" not in lines["fine_tune.py"]
    )
    assert all("--budget macs" in lines[script] for script in ("ratio_swipe.py", "fine_tune.py"))
    assert all(
        "--limit-train 100" in line and "--plot-dir 'a b'" in line and "--device cpu" in line
        for line in lines.values()
    )


def test_experiments_of_other_names_share_their_folders():
    """Every iteration of a search, and a base network of another size, under names of their own."""
    asked = {
        "search": "s",
        "methods": ("neuralscale_2", "neuralscale", "magnitude"),
        "ratios": (0.125, 0.5),
        "base_ratio": 0.5,
        "search_with": ("iterations=3",),
    }
    found = jobs(name="first", **asked)
    assert [job.name for job in found] == [
        "s@search",
        "first_base.50",
        "first_neuralscale_it2_0@12",
        "first_neuralscale_it2_0@50",
        "first_neuralscale_0@12",
        "first_neuralscale_0@50",
        "first_magnitude.50_0@12",
    ]
    pruning = [job.command for job in found if job.script in ("train_norm.py", "fine_tune.py")]
    assert [command[command.index("--ratio") + 1] for command in pruning] == ["0.5", "0.125"]
    assert (
        "--descent-idx 1" in shlex.join(found[2].command)
        and "--descent-idx" not in found[4].command
    )
    assert found[2].method == "neuralscale_2" and not {job.key for job in found[1:]} & {
        job.key for job in jobs(name="second", **asked)
    }
    assert "vgg_10_eff_digits_it2_0@12" in [job.name for job in jobs(**asked)]


def test_a_base_network_has_a_seed_of_its_own_and_fine_tunings_name_it():
    base, tuning = jobs(methods=("magnitude",), base_seed=3, seeds=(7,))
    assert (base.name, tuning.name) == (
        "vgg_standard_digits_3",
        "vgg_norm_digits_7@12",
    ) and base.settings.seed == 3
    # its name has it
    assert (
        "--prune-fname vgg_standard_digits_3 " in shlex.join(tuning.command)
        and "--seed" not in base.command
    )


def test_every_method_has_names_of_its_own():
    """Of 20 iterations the last, the 15th and the first are three networks, and no name could be
    another's with a seed."""
    for name in (None, "mine"):
        found = jobs(
            name=name,
            search="s",
            methods=("neuralscale", "neuralscale_15", "neuralscale_1", "uniform"),
            seeds=(0, 1, 15),
            search_with=("iterations=20",),
        )
        runs = {
            job.name.split("@")[0].rpartition("_")[0]
            for job in found
            if job.script == "ratio_swipe.py"
        }
        assert len({job.key for job in found}) == len(found) and len(runs) == 4
        assert not any(re.search(r"_\d+$", run) for run in runs)


@pytest.mark.parametrize(
    "options",
    [
        ["--name", "mine", "--methods", "neuralscale", "neuralscale_1", "uniform"],
        ["--methods", "neuralscale_1", "neuralscale_2", "uniform"],
    ],
)
def test_experiments_with_names_of_their_own_end_with_the_table_too(options, forking):
    out = succeed(
        "submit.py",
        *EXPERIMENT,
        "--search",
        "s",
        *options,
        "--seeds",
        0,
        1,
        "--ratios",
        0.0625,
        "--jobs",
        2,
        "--search-with",
        *SEARCH[:-1],
        "iterations=2",
        "--train-with",
        "epochs=1",
        "batch-size=50",
    )
    for method in options[options.index("--methods") + 1 :]:
        assert re.search(rf"^{method} +0\.0625 .* 2 +-$", out, re.MULTILINE), out


def test_held_out_images_are_held_out_of_every_job():
    found = jobs(
        search="s", morph_search="m", methods=("neuralscale", "morph", "magnitude"), validate=200
    )
    assert {job.script for job in found} == {
        "architecture_descent.py",
        "ratio_swipe.py",
        "train_norm.py",
        "fine_tune.py",
    }
    assert all("--validate 200" in shlex.join(job.command) for job in found)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, naming",
    [
        line.split(" | ")
        for line in """
--methods alexnet | alexnet
--methods neuralscale | --search
--methods uniform --search s | --methods
--methods neuralscale --search published | digits
--methods morph | --morph-search
--methods uniform --morph-search m | --methods
--methods neuralscale morph --search s --morph-search s | --morph-search
--methods magnitude --ratios 1 2 | --ratios
--methods uniform uniform | --methods
--methods uniform --seeds 1 1 | --seeds
--methods uniform --seeds -1 | --seeds
--methods uniform --ratios 0.25 0.251 | --ratios
--methods uniform --ratios 0.001 | ratio
--methods uniform --dataset nowhere | nowhere
--methods uniform --train-with epoch=3 | epoch=3
--methods uniform --train-with epochs=0 | epochs=0
--methods uniform --train-with epochs | epochs
--methods uniform --train-with seed=3 | seed
--methods uniform --train-with amp=1 | amp=1
--methods neuralscale --search s --search-with epochs=5 warmup=5 | --warmup
--methods neuralscale --search s --search-with morph | morph
--methods neuralscale --search a/b | a/b
--methods neuralscale_0 --search s | neuralscale_0
--methods neuralscale_N --search s | neuralscale_N
--methods neuralscale_3 --search s --search-with iterations=2 | neuralscale_3
--methods uniform --name a/b | a/b
--methods uniform --base-ratio 0.5 | --base-ratio
--methods magnitude --base-ratio 0.25 --ratios 0.25 0.5 | --base-ratio
--methods magnitude --base-ratio 0.001 | ratio
--methods uniform --jobs 0 | --jobs
--methods uniform --cluster pbs | pbs
--methods uniform --slurm time=1 | --cluster
--methods uniform --cluster slurm --gpus 1 | --gpus
--methods uniform --cluster slurm | time=
--methods uniform --cluster slurm --slurm time=1 time=2 | time=2
--methods uniform --cluster slurm --slurm time=1 dependency=afterok:1 | dependency
--methods uniform --cluster slurm --slurm time=1 | sbatch
--methods uniform --gpus 99 | --gpus
--methods neuralscale --search resnets | resnets
--methods neuralscale --search torn | torn
""".strip().splitlines()
    ],
)
def test_what_can_not_work_is_refused_and_nothing_begun(arguments, naming, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # a machine without Slurm
    records = tmp_path / "prune_record"
    records.mkdir()
    (records / "torn.json").write_text('{"model": ')
    (records / "resnets.json").write_text(
        json.dumps(
            {
                "model": "resnet18",
                "dataset": "digits",
                "num_classes": 10,
                "image_size": 32,
                "settings": {},
                "iterations": [],
            }
        )
    )
    before = snapshot(tmp_path)
    assert_refused(
        call("submit.py", "--model", "vgg", "--dataset", "digits", *arguments.split()), naming
    )
    assert snapshot(tmp_path) == before


def test_slurm_without_submitit_says_what_to_install(monkeypatch, tmp_path):
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert_refused(
        call(
            "submit.py",
            *EXPERIMENT,
            "--methods",
            "uniform",
            "--cluster",
            "slurm",
            "--slurm",
            "time=1",
        ),
        "requirements-cluster.txt",
    )


# --- how far they are -----------------------------------------------------------------------------

LINES = "submit.py: begins ratio_swipe.py --save x\nratio_swipe.py: settings\n"
EPOCH = (
    "vgg_uni_digits_0@12, epoch {}: loss 2.1, accuracy 20.00 %\n  test: loss 2.0, accuracy {} %\n"
)


@pytest.mark.parametrize(
    "log, kind, note, accuracy",
    [
        (None, "waiting", "", None),
        (
            LINES
            + EPOCH.format(0, "31.50")
            + EPOCH.format(1, "30.25")
            + "submit.py: ended with exit status 143\n",
            "waiting",
            "stopped after epoch 2 of 300",
            30.25,
        ),
        (
            LINES + EPOCH.format(0, "31.50"),
            "failed",
            "it ended without a word, as one that is killed does",
            31.5,
        ),
        (
            LINES + EPOCH.format(0, "31.50") + "submit.py: ended with exit status -9\n",
            "failed",
            "killed by SIGKILL",
            31.5,
        ),
        (
            LINES
            + "ratio_swipe.py: error: the loss is not a finite number\nsubmit.py: ended with exit "
            "status 2\n",
            "failed",
            "ratio_swipe.py: error: the loss is not a finite number",
            None,
        ),
        (
            LINES + "Traceback\n  a line\nKeyError: 3\nsubmit.py: ended with exit status 1\n",
            "failed",
            "KeyError: 3",
            None,
        ),
        (
            LINES + "an error\nsubmit.py: ended with exit status 2\n" + LINES.splitlines(True)[0],
            "running",
            "starting",
            None,
        ),
        (
            b"\xff\xfe\n" * 9000,
            "failed",
            "it ended without a word, as one that is killed does",
            None,
        ),
        (
            LINES + EPOCH.format(0, "31.50") + "submit.py: ended with exit status -40\n",
            "failed",
            "killed by signal 40",
            31.5,
        ),
        *(
            (
                LINES + "an error\nsubmit.py: ended with exit status" + torn,
                "failed",
                "it ended without a word, as one that is killed does",
                None,
            )
            for torn in ("", " ", " -", " 14", " x\n", " 3 4\n", f" {'9' * 5000}\n")
        ),
        (
            LINES
            + "an error\nsubmit.py: ended with exit sta\n"
            + LINES
            + EPOCH.format(0, "3\udcff"),
            "failed",
            "it ended without a word, as one that is killed does",
            None,
        ),
    ],
)
def test_a_log_tells_how_far_its_job_is(log, kind, note, accuracy):
    [job] = jobs()
    if log is not None:
        job.log.parent.mkdir(parents=True)
        job.log.write_bytes(log if isinstance(log, bytes) else log.encode(errors="surrogateescape"))
    assert state_of(job) == JobState(job, kind, note, accuracy)


def test_a_job_that_began_long_ago_and_said_nothing_is_lost():
    [job] = jobs()
    job.log.parent.mkdir(parents=True)
    job.log.write_text(LINES.splitlines(True)[0])
    assert state_of(job).kind == "running"
    # a clock that was put back, or another machine's, may say that it has yet to begin
    for long in (-1, 1):
        os.utime(job.log, (time.time() + long * (work.STARTING + 5),) * 2)
        assert state_of(job).kind == "failed"
    os.utime(job.log, (time.time() + 5,) * 2)
    assert state_of(job).kind == "running"


def test_a_line_that_a_killed_job_left_torn_does_not_hide_how_it_ended_nor_that_it_began_again():
    [job] = jobs()
    job.log.parent.mkdir(parents=True)
    for torn in (
        f"{LINES}vgg_uni_digits_0@12, epoch 0: lo",
        f"{LINES}submit.py: ended with exit sta",
    ):
        job.log.write_text(torn)
        work.end(job.log, -9)
        assert state_of(job).note == "killed by SIGKILL"
        job.log.write_text(torn)
        with work.begin(["ratio_swipe.py", "--help"], job.log, {}) as process:
            process.wait()
        work.end(job.log, 0)
        assert (
            job.log.read_text().splitlines()[3] == f"{work.BEGAN} ratio_swipe.py --help"
            and state_of(job).kind == "waiting"
        )


def test_a_job_whose_files_are_held_runs_and_one_in_the_queue_is_queued():
    [job] = jobs()
    job.log.parent.mkdir(parents=True)
    job.log.write_text(LINES + EPOCH.format(4, "50.00"))
    with exclusive(job.result):
        assert state_of(job) == JobState(job, "running", "epoch 5 of 300", 50.0)
    assert state_of(job, Queued("7_3", True, "None")) == JobState(
        job, "running", "epoch 5 of 300, Slurm job 7_3", 50.0
    )
    assert state_of(job, Queued("7_3", False, "Priority")) == JobState(
        job, "queued", "epoch 5 of 300, Slurm job 7_3 (Priority)", 50.0
    )


def test_a_search_says_its_iteration_and_those_that_need_it_that_it_failed():
    found = jobs(search="s", methods=("neuralscale",), search_with=("iterations=3",))
    found[0].log.parent.mkdir(parents=True)
    found[0].log.write_text(
        LINES + "iteration 1, epoch 6: loss 1.2, accuracy 50.00 %, 300 of 400 filters\n"
    )
    with exclusive(found[0].result):
        assert [state.note for state in states_of(found, {})] == ["iteration 2 of 3, epoch 7", ""]
    assert [(state.kind, state.note) for state in states_of(found, {})][1] == (
        "waiting",
        "needs s@search, which failed",
    )


@pytest.fixture
def result():
    """result(job): leaves what a finished training leaves, and returns it."""

    def leave(job, **other):
        from utils.settings import stored

        settings = job.settings
        content = {
            "model": settings.model,
            "dataset": "digits",
            "method": "uniform",
            "num_classes": 10,
            "image_size": 32,
            "convcut": False,
            "filters": [8, 16, 32, 32, 64, 64, 64, 64],
            "params": 1000,
            "macs": 1000,
            "origin": None,
            "ratio": 0.125,
            "seed": settings.seed,
            "test_acc": [40.0, 60.0, 50.0] * 100,
            "best": 60.0,
            "last": 50.0,
            "settings": stored(settings),
        }
        job.result.parent.mkdir(parents=True, exist_ok=True)
        job.result.write_text(json.dumps({**content, **other}))

    return leave


def test_two_hundred_jobs_are_shown_within_a_second(result):
    found = jobs(seeds=tuple(range(50)), ratios=(0.125, 0.25, 0.5, 1.0))
    assert len(found) == 200
    for number, job in enumerate(found):
        if number % 2:
            result(job, ratio=float(job.options[job.options.index("--ratios") + 1]))
        else:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text(
                LINES + "".join(EPOCH.format(epoch, "50.00") for epoch in range(200))
            )
    began = time.monotonic()
    shown = table(states_of(found, {}))
    assert time.monotonic() - began < 0.8  # and a start of Python
    assert shown.endswith("200 jobs: 100 finished, 100 failed") and len(shown.splitlines()) == 202


def test_to_show_them_loads_no_torch(result):
    """Which takes seconds."""
    for job in jobs(ratios=(0.125, 0.25))[1:]:
        result(job, ratio=0.25)
    searched(15, {})
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\nfinally: "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            REPOSITORY / "submit.py",
            "--dataset",
            "digits",
            "--search",
            "s",
            "--seeds",
            "0",
            "--ratios",
            "0.125",
            "0.25",
            "--status",
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["5 jobs: 2 finished, 3 waiting", "False"]


@pytest.mark.parametrize(
    "other, naming",
    [
        ({"settings": {"epochs": 30}}, "epochs = 30"),
        ({"method": "morphnet"}, "method = morphnet"),
        ({"dataset": "CIFAR10"}, "CIFAR10"),
    ],
)
def test_other_work_in_the_place_of_a_job_is_refused(other, naming, result):
    [job] = jobs()
    result(job, **other)
    before = snapshot(".")
    assert_refused(
        call(
            "submit.py",
            "--dataset",
            "digits",
            "--methods",
            "uniform",
            "--seeds",
            0,
            "--ratios",
            0.125,
        ),
        naming,
        job.result,
    )
    assert snapshot(".") == before


@pytest.mark.slow
def test_an_experiment_that_is_done_is_not_another_one(forking):
    """Files have int(100 * ratio) in their names, and say nothing of budgets, searches and base
    networks."""
    common = [
        "submit.py",
        *EXPERIMENT,
        "--methods",
        "uniform",
        "neuralscale",
        "magnitude",
        "--search",
        "s",
        "--seeds",
        4,
        "--jobs",
        2,
        "--train-with",
        "epochs=1",
        "batch-size=50",
        "--tune-with",
        "epochs=1",
        "batch-size=50",
        "--search-with",
        *SEARCH,
    ]
    given = ["--ratios", 0.0625, "--base-ratio", 0.125]
    succeed(*common, *given)
    assert "5 jobs: 5 finished" in succeed(
        *common, *given, "--status"
    ) and "vgg on digits" in succeed(*common, *given)
    before = snapshot(".")
    for other, *naming in (
        ([*given, "--budget", "macs"], "budget = params, not macs"),
        (["--ratios", 0.069, "--base-ratio", 0.125], "ratio = 0.0625, not 0.069"),
        (
            ["--ratios", 0.0625, "--base-ratio", 0.129],
            "vgg_standard_digits.12_12.json",
            "ratio = 0.125, not 0.129",
        ),
        ([*given, "--base-seed", 1], "base = vgg_standard_digits.12, not vgg_standard_digits.12_1"),
    ):
        for command in ([*common, *other], [*common, *other, "--status"]):
            assert_refused(call(*command), *naming)
            assert snapshot(".") == before
    grown = [*common[:-1], "iterations=2", *given]
    assert_refused(
        call(*grown), "vgg_10_eff_digits_late_4_6.json", "method = neuralscale_1, not neuralscale_2"
    )
    assert snapshot(".") == before  # and the search was not gone on with
    # whatever number of iterations it has
    assert "5 finished" in succeed(*common[:-1], *given, "--status")
    sweep = [
        "ratio_swipe.py",
        *EXPERIMENT,
        "--uniform",
        "--save",
        "vgg_uni_digits_4",
        "--epochs",
        1,
        "--batch-size",
        50,
    ]
    # a sweep says the same
    assert_refused(call(*sweep, "--ratios", 0.069), "ratio = 0.0625, not 0.069")


def searched(iterations: int, settings: dict) -> None:
    entry = {"alpha": [1.0] * 8, "beta": [0.3] * 8, "filters": [8] * 8, "rounds": 9}
    Path("prune_record").mkdir(exist_ok=True)
    Path("prune_record/s.json").write_text(
        json.dumps(
            {
                "model": "vgg",
                "dataset": "digits",
                "num_classes": 10,
                "image_size": 32,
                "settings": settings,
                "iterations": [entry] * iterations,
            }
        )
    )


@pytest.mark.parametrize(
    "iterations, settings, given, kind",
    [
        (15, {}, (), "finished"),
        (15, {"warmup": 3}, (), "finished"),
        (15, {"warmup": 3}, ("warmup=3",), "finished"),
        (14, {}, (), "waiting"),
        (2, {"iterations": 2}, (), "finished"),
        (2, {"iterations": 2}, ("iterations=3",), "waiting"),
        (15, {"warmup": 3}, ("warmup=4",), None),
        (2, {"warmup": 3}, (), None),
        (15, {"morph": True}, (), None),
        (2, {"iterations": 2}, ("iterations=1",), None),
        (3, {"iterations": 15}, ("iterations=3",), None),
        (1, {"iterations": 2}, (), None),
    ],
)
def test_a_search_that_is_there_is_taken_as_it_is_unless_settings_were_given(
    iterations, settings, given, kind
):
    searched(iterations, settings)
    search = jobs(search="s", methods=("neuralscale",), search_with=given)[0]
    if kind:
        assert state_of(search).kind == kind
    else:
        with pytest.raises(UserError, match="begun with"):
            state_of(search)


@pytest.mark.parametrize(
    "found, asked, naming",
    [
        ({"budget": "macs"}, {}, "budget = macs, not params"),
        ({"round_to": 8}, {}, "round_to = 8, not 1"),
        ({"convcut": True}, {}, "convcut = True, not False"),
        ({"ratio": 0.129}, {}, "ratio = 0.129, not 0.125"),
        ({"image_size": 48}, {"train_with": ("image-size=64",)}, "image_size = 48, not 64"),
        ({}, {"budget": "macs"}, "budget = params, not macs"),
        ({"settings": {"image_size": 48}, "image_size": 48}, {}, "image_size = 48, not None"),
        (
            {"origin": {"search": "s", "iteration": 0, "fingerprint": "a"}},
            {},
            "search = s, not None",
        ),
    ],
)
def test_a_result_is_the_one_that_is_asked_for_in_all_that_it_says_of_itself(
    found, asked, naming, result
):
    [job] = jobs(**asked)
    result(job, **found)
    with pytest.raises(UserError, match=naming):
        state_of(job)


@pytest.mark.parametrize(
    "method, settings, given, naming",
    [
        ("neuralscale_2", {"iterations": 2}, (), ""),
        ("neuralscale_2", {"iterations": 2}, ("iterations=2",), ""),
        ("neuralscale_1", {"iterations": 2}, (), "method = neuralscale_1, not neuralscale_2"),
        (
            "neuralscale_2",
            {"iterations": 2},
            ("iterations=3",),
            "method = neuralscale_2, not neuralscale_3",
        ),
        ("neuralscale_2", {"iterations": 2, "budget": "macs"}, (), "budget = params, not macs"),
    ],
)
def test_a_network_of_the_last_iteration_is_of_the_last_one_and_has_its_search_s_budget(
    method, settings, given, naming, result
):
    searched(2, settings)
    job = jobs(search="s", methods=("neuralscale",), search_with=given)[-1]
    result(job, method=method, origin={"search": "s", "iteration": int(method[-1]) - 1})
    if naming:
        with pytest.raises(UserError, match=naming):
            state_of(job)
    else:
        assert state_of(job).kind == "finished"


@pytest.mark.parametrize("method, kind", [("neuralscale_15", "finished"), ("neuralscale_1", None)])
def test_a_network_of_what_was_published_is_of_its_last_iteration(method, kind, result):
    [job] = jobs(dataset="CIFAR10", search="published", methods=("neuralscale",))
    result(
        job,
        dataset="CIFAR10",
        method=method,
        origin={"search": "published", "iteration": int(method[12:]) - 1, "fingerprint": "a"},
    )
    if kind:
        assert state_of(job).kind == kind
    else:
        with pytest.raises(UserError, match="neuralscale_1, not neuralscale_15"):
            state_of(job)


@pytest.mark.parametrize("morph", [False, True])
def test_trainings_of_a_search_that_was_searched_again_are_refused(morph):
    method = "morph" if morph else "neuralscale"
    command = [
        "submit.py",
        *EXPERIMENT,
        "--morph-search" if morph else "--search",
        "s",
        "--methods",
        method,
        "uniform",
        "--seeds",
        4,
        "--ratios",
        0.0625,
        "--jobs",
        2,
        "--train-with",
        "epochs=1",
        "batch-size=50",
        "--search-with",
        *SEARCH,
    ]
    search = [
        "architecture_descent.py",
        "--model",
        "vgg",
        "--dataset",
        "digits",
        "--limit-train",
        100,
        "--save",
        "s",
        *["--morph"] * morph,
        *(f"--{setting}" for setting in SEARCH),
    ]
    succeed(*command)
    succeed(*search, "--overwrite")
    assert "3 jobs: 3 finished" in succeed(*command, "--status")  # the same networks again
    succeed(*search, "--overwrite", "--prune-step", 9)
    before = snapshot(".")
    [of] = [path for path in Path("saved_plots/vgg").glob("*.json") if "uni" not in path.name]
    refused = call(*command, "prune-step=9")
    assert_refused(refused, of, "prune_record/s.json", "searched again")
    assert snapshot(".") == before
    of.unlink()
    Path(re.search(r"remove this result and (\S+),", refused.err)[1]).unlink()
    assert "(3 of 3)" in succeed(*command, "prune-step=9")


def test_what_slurm_has_is_known_by_the_note_that_was_made_before_submitting(monkeypatch, tmp_path):
    notes = tmp_path / "saved_models" / "submitted"
    notes.mkdir(parents=True)
    (notes / "neuralscale-1.json").write_text('{"jobs": ["vgg/a@12", "vgg/b@12"]}')
    (notes / "neuralscale-2.json").write_text('{"jobs": ["vgg/c@12"]}')
    squeue = tmp_path / "squeue"
    squeue.write_text(
        "#!/bin/sh\necho '7_1|1|PENDING|Priority|neuralscale-1'; echo "
        "'8|N/A|RUNNING|None|neuralscale-2'; echo '9|1|RUNNING|None|x'\necho "
        "'10|1|RUNNING|None|a|b|neuralscale-1'; echo '11|1|RUNNING|None|two'; echo 'lines'; printf "
        "'12|\\377\\n'\n"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert slurm.queue_of("saved_models") == {
        "vgg/b@12": Queued("7_1", False, "Priority"),
        "vgg/c@12": Queued("8", True, "None"),
    }
    squeue.write_text("#!/bin/sh\necho no controller >&2; exit 1\n")
    assert_refused(call("submit.py", *EXPERIMENT, "--methods", "uniform"), "no controller")
    for damaged in ('{"jobs": [1]}', "[]", '{"jobs"'):
        (notes / "neuralscale-2.json").write_text(damaged)
        assert_refused(call("submit.py", *EXPERIMENT, "--methods", "uniform"), "neuralscale-2.json")


class Refusing:
    """As submitit's executor where sbatch refuses; meanwhile a job that was submitted before it
    begins and writes its log."""

    def __init__(self, folder, log):
        self.folder, self.log, self.asked = folder, log, {}

    def update_parameters(self, **asked):
        self.asked |= asked

    def submit_array(self, works):
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("1f0a.pkl", ".submission_file_1f0a.sh"):
            (self.folder / name).write_text("what submitit leaves")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("running")
        raise RuntimeError("sbatch: error: invalid partition\nand more")


def test_what_sbatch_refuses_leaves_nothing_and_the_logs_of_running_jobs_alone(monkeypatch):
    before = Path("saved_models/submitted/neuralscale-before")
    # earlier versions had them in one folder
    logs = [before / "7_1_0_log.out", before.parent / "6_0_0_log.err"]
    for log in logs:
        monkeypatch.setattr(
            slurm, "executor_of", lambda cluster, folder, log=log: Refusing(folder, log)
        )
        with pytest.raises(UserError, match=r"^--slurm: sbatch: error: invalid partition$"):
            slurm.submit_array(Cluster(), jobs(), "", "saved_models")
    assert snapshot("saved_models/submitted").keys() == {
        str(log.relative_to(before.parent)) for log in logs
    }
    assert {path.name for path in before.parent.iterdir()} == {before.name, logs[1].name}


@pytest.mark.parametrize("already", ["", "/of/my own"])
def test_a_project_in_a_folder_with_a_space_is_found_by_its_jobs(already, monkeypatch, tmp_path):
    place = tmp_path / "it's my $HOME project"
    monkeypatch.setattr(slurm, "PROJECT", place)
    script = "\n".join([*slurm.setup(), 'printf %s "$PYTHONPATH"'])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | (
        {"PYTHONPATH": already} if already else {}
    )
    done = subprocess.run(
        ["bash", "-eu", "-c", script], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == (f"{place}{':' * bool(already)}{already}", "")


# --- what they need -------------------------------------------------------------------------------


def test_images_are_downloaded_before_jobs_begin_and_once(monkeypatch):
    from utils import data

    done = []

    def load(dataset, folder, **_):
        done.append((dataset, folder))
        raise UserError(f"{folder}: {dataset} can't be downloaded")

    monkeypatch.setattr(data, "load_data", load)
    monkeypatch.setattr(local.LocalRunner, "begin_one", lambda _: pytest.fail("a job has begun"))
    refused = call(
        "submit.py",
        "--dataset",
        "CIFAR10",
        "--methods",
        "uniform",
        "--ratios",
        0.25,
        0.5,
        "--jobs",
        2,
        "--data",
        "there",
    )
    assert_refused(refused, "there: CIFAR10 can't be downloaded")
    assert done == [("CIFAR10", "there")]
    monkeypatch.setattr(local.LocalRunner, "run", lambda _: None)
    call("submit.py", *EXPERIMENT, "--methods", "uniform")
    assert done == [("CIFAR10", "there")]


# --- on this machine ------------------------------------------------------------------------------


def test_the_cores_and_the_gpus_are_shared_out(monkeypatch):
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [slot["OMP_NUM_THREADS"] for slot in local.environments(Cluster(jobs=3))] == ["2"] * 3
    assert [slot["OMP_NUM_THREADS"] for slot in local.environments(Cluster(jobs=16))] == ["1"] * 16
    assert local.environments(Cluster()) == [{"OMP_NUM_THREADS": "8", "OMP_WAIT_POLICY": "PASSIVE"}]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [
        slot["CUDA_VISIBLE_DEVICES"] for slot in local.environments(Cluster(jobs=3, gpus=2))
    ] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc")
    assert [
        slot["CUDA_VISIBLE_DEVICES"] for slot in local.environments(Cluster(jobs=2, gpus=2))
    ] == ["5", "GPU-abc"]


@pytest.mark.slow
def test_a_job_that_fails_keeps_the_others_from_nothing_and_is_done_by_the_same_command_later(
    forking,
):
    """One search, one base network, a training of each; the fine-tuning diverges."""
    command = [
        "submit.py",
        *EXPERIMENT,
        "--search",
        "s",
        "--methods",
        "neuralscale",
        "uniform",
        "magnitude",
        "--seeds",
        4,
        "--ratios",
        0.0625,
        "--jobs",
        2,
        "--search-with",
        *SEARCH,
        "--train-with",
        "epochs=2",
        "batch-size=50",
        "--tune-with",
        "epochs=2",
        "batch-size=5",
    ]
    failed = call(*command, "lr=100")
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert (
        "5 jobs: 4 finished, 1 failed; vgg_norm_digits_4@6: fine_tune.py: error: the " in failed.err
    )
    status = call(*command, "lr=100", "--status")
    assert status.status == 1
    assert re.search(
        r"vgg_norm_digits_4@6 +failed .* finite number.*: "
        r"saved_models/vgg/vgg_norm_digits_4@6.log\n",
        status.out,
    )
    before = snapshot("saved_plots")
    mended = call(*command, "lr=0.001")
    assert (mended.status, mended.err) == (0, "") and "vgg_norm_digits_4@6: finished" in mended.out
    # and no other job
    assert [line.split()[0] for line in mended.out.splitlines() if "finished" in line] == [
        "vgg_norm_digits_4@6:"
    ]
    assert {
        name: content for name, content in snapshot("saved_plots").items() if name in before
    } == before
    assert (
        "NeuralScale, iteration 1" in mended.out and "magnitude pruning, fine-tuned" in mended.out
    )
    assert Path("saved_plots/vgg/digits_accuracy_params.png").exists()

    shutil.move("saved_plots", "experiment")
    # as one would type them; the search is there
    for line in call(*command, "lr=0.001", "--dry-run").out.splitlines()[1:-1]:
        succeed(*shlex.split(line)[1:], "--model-dir", "by_hand")
    assert everything("saved_plots") == {
        name: content
        for name, content in everything("experiment").items()
        if "norm" not in name and not name.endswith((".png", ".html"))
    }


SIX = [
    *EXPERIMENT,
    "--methods",
    "uniform",
    "--seeds",
    0,
    1,
    2,
    "--ratios",
    0.08,
    0.1,
    "--train-with",
    "epochs=12",
    "batch-size=50",
]


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A file: while it is there, forked jobs train so slowly that they can be killed in time."""
    begin, slow = Progress.__init__, tmp_path / "slow"
    monkeypatch.setattr(
        Progress, "__init__", lambda *args: (slow.exists() and time.sleep(0.3), begin(*args))[1]
    )
    slow.touch()
    return slow


@pytest.mark.slow
def test_six_jobs_end_the_same_after_one_is_killed_one_stopped_and_then_submit_itself(
    tmp_path, forking, slow
):
    """kill -9 of one, Ctrl-C of another; Ctrl-C and kill -9 of submit.py, whose jobs go on then and
    are left alone."""
    with start("submit.py", *SIX, "--jobs", 2, cwd=tmp_path) as process:
        first, second = (at_work(f"vgg_uni_digits_0@{percent}") for percent in (8, 10))
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGINT)
        third = at_work("vgg_uni_digits_1@8")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and err == "submit.py: stopped; finished epochs are saved. Go on with the same command\n"
    )
    assert not Path(f"/proc/{third}").exists()
    status = call("submit.py", *SIX, "--status")
    assert status.status == 1 and re.search(
        r"vgg_uni_digits_0@8 +failed .* killed by SIGKILL", status.out
    )
    assert re.search(r"vgg_uni_digits_0@10 +waiting .*stopped after epoch", status.out)
    assert re.search(r"vgg_uni_digits_1@8 +waiting .*stopped after epoch", status.out)

    with start("submit.py", *SIX, "--jobs", 2, cwd=tmp_path) as process:
        left = at_work("vgg_uni_digits_0@8")
        process.kill()
    assert Path(f"/proc/{left}").exists()
    slow.unlink()
    done = call("submit.py", *SIX, "--jobs", 2)
    assert (done.status, done.err) == (0, "")
    logs = {path.stem: path.read_text() for path in Path("saved_models/vgg").glob("*.log")}
    assert len(logs) == 6 and all(log.count("\n  best ") == 1 for log in logs.values())
    assert all(
        "goes on at epoch" in logs[f"vgg_uni_digits_{job}"] for job in ("0@8", "0@10", "1@8")
    )

    os.rename("saved_plots", "disturbed")
    for seed in range(3):
        succeed(
            "ratio_swipe.py",
            *EXPERIMENT,
            "--uniform",
            "--save",
            f"vgg_uni_digits_{seed}",
            "--ratios",
            0.08,
            0.1,
            "--epochs",
            12,
            "--batch-size",
            50,
            "--model-dir",
            "undisturbed",
        )
    assert everything("saved_plots") == {
        name: content
        for name, content in everything("disturbed").items()
        if not name.endswith((".png", ".html"))
    }


def at_work(job: str) -> int:
    """The process of a job, once it has trained two epochs, and so has a checkpoint of the
    first."""
    log, end = Path.cwd() / "saved_models/vgg" / f"{job}.log", time.monotonic() + 60
    while time.monotonic() < end:
        epochs = (
            re.findall(r"epoch \d+: ", log.read_text().rpartition(work.BEGAN)[2])
            if log.exists()
            else []
        )
        for stdout in Path("/proc").glob("[0-9]*/fd/1") if len(epochs) > 1 else []:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if stdout.readlink() == log:
                    return int(stdout.parts[2])
        time.sleep(0.05)
    raise AssertionError(f"{job} is not at work")
