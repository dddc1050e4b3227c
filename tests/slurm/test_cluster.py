"""An experiment on a real Slurm: it ends with the numbers of the same experiment on this machine,
whatever happens meanwhile."""

import json
import math
import os
import re
import subprocess
import sys
import time

import pytest
from cluster import CPUS, cluster, missing
from running import REPOSITORY, Outcome, assert_refused, everything

pytest.importorskip("submitit", reason="submitit is not installed: make test-cluster installs it")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing()),
        reason=f"no Slurm to start: {', '.join(missing())} missing; make "
        "test-cluster installs it where apt-get is",
    ),
]

SMALL = ["--model", "vgg", "--dataset", "digits", "--limit-test", "200"]
SEARCH = [
    "--search-with",
    "ratio=0.125",
    "epochs=6",
    "warmup=2",
    "prune-every=1",
    "iterations=2",
    "prune-step=5",
    "batch-size=50",
    "limit-train=300",
]
TRAIN = ["--train-with", "epochs=8", "batch-size=20", "lr=0.02", "limit-train=600"]
TWELVE = [
    *SMALL,
    "--search",
    "found",
    "--methods",
    "neuralscale",
    "uniform",
    "--seeds",
    "0",
    "1",
    "--ratios",
    "0.0625",
    "0.1",
    "0.125",
    *SEARCH,
    *TRAIN,
]
ON_SLURM = ["--cluster", "slurm", "--jobs", "2", "--slurm", "time=10", "cpus-per-task=1"]
LONG = 300  # seconds that an experiment may take


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture
def submit(slurm, tmp_path):
    """submit(arguments) -> how submit.py ended, a process of its own in ``submit.folder``."""

    def run(*arguments) -> subprocess.CompletedProcess:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LONG,
            env=environment(slurm),
        )

    run.folder = tmp_path
    return run


def command(*arguments) -> list[str]:
    return [sys.executable, str(REPOSITORY / "submit.py"), *arguments]


def environment(slurm) -> dict[str, str]:
    return {**os.environ, **slurm.environment, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def here(tmp_path_factory, slurm):
    """The folder of the twelve trainings, run on this machine, and what was printed."""
    folder = tmp_path_factory.mktemp("here")
    done = subprocess.run(
        command(*TWELVE, "--jobs", "2"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONG,
        env=environment(slurm),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def left(folder) -> dict:
    """What an experiment leaves, but for what runs it."""
    return {
        path: content
        for path, content in everything(folder).items()
        if not path.endswith(".log") and "submitted/" not in path
    }


def comparison(out: str) -> str:
    """The table of accuracies."""
    return out[out.index("vgg on digits: best test accuracy") :]


def log_of(folder, job: str) -> str:
    path = folder / "saved_models" / "vgg" / f"{job}.log"
    return path.read_text() if path.exists() else ""


def assert_each_ran_once_to_its_end(folder) -> None:
    for path in (folder / "saved_models" / "vgg").glob("*.log"):
        text = path.read_text()
        assert text.count("\n  best ") == (0 if "@search" in path.name else 1), path
    assert len(list((folder / "saved_models" / "vgg").glob("*.log"))) == 13


def queue(slurm) -> dict[str, str]:
    """The state of each job in the queue, by its id."""
    return dict(
        line.split("|") for line in slurm.ask("squeue", "-h", "-r", "-o", "%i|%T").splitlines()
    )


def once_at_work(slurm, submit, job: str) -> str:
    """Waits until a job has a checkpoint and is not done; its id in the queue."""
    slurm.wait_until(lambda: log_of(submit.folder, job), f"log of {job}", LONG)
    status = submit(*TWELVE, "--status").stdout  # while it loads what it needs
    slurm.wait_until(lambda: "epoch 1:" in log_of(submit.folder, job), f"epoch of {job}")
    assert "epoch 7:" not in log_of(submit.folder, job)
    return re.search(rf"^{re.escape(job)} +running .*, Slurm job (\S+)", status, re.MULTILINE)[1]


def finish(submit) -> str:
    """Runs the same command again until all is done; what was printed at the end."""
    for _ in range(3):
        submitted = submit(*TWELVE, *ON_SLURM)
        assert (submitted.returncode, submitted.stderr) == (0, "")
        watched = submit(*TWELVE, "--watch")
        assert watched.stderr == ""
        if "13 jobs: 13 finished" in watched.stdout:
            return watched.stdout
    raise AssertionError(watched.stdout)


def test_a_search_and_twelve_trainings_end_as_on_this_machine(slurm, submit, here):
    begun = submit(*TWELVE, *ON_SLURM)
    assert (begun.returncode, begun.stderr) == (0, "") and "submitted 13 jobs" in begun.stdout
    again = submit(*TWELVE, *ON_SLURM)
    assert (again.returncode, again.stderr) == (0, "") and "submitted 0 jobs" in again.stdout
    most = 0
    while states := queue(slurm):
        most = max(most, sum(state == "RUNNING" for state in states.values()))
        time.sleep(0.3)
    assert most == 2
    done = submit(*TWELVE, "--watch")
    assert (done.returncode, done.stderr) == (0, "") and "13 jobs: 13 finished" in done.stdout
    folder, out = here
    assert left(submit.folder) == left(folder)
    assert comparison(done.stdout) == comparison(out)
    assert_each_ran_once_to_its_end(submit.folder)


def test_cancelled_requeued_and_killed_it_ends_the_same(slurm, submit, here):
    """submit.py and slurmd are killed and started again, a job cancelled, another requeued in
    mid-epoch."""
    with subprocess.Popen(
        command(*TWELVE, *ON_SLURM), cwd=submit.folder, env=environment(slurm)
    ) as process:
        slurm.wait_until(lambda: queue(slurm), "job in the queue")
        process.kill()
    assert submit(*TWELVE, *ON_SLURM).returncode == 0
    cancelled, requeued = "vgg_uni_digits_0@12", "vgg_uni_digits_1@12"
    slurm.ask("scancel", once_at_work(slurm, submit, cancelled))
    again = once_at_work(slurm, submit, requeued)
    slurm.ask("scontrol", "requeue", again)
    slurm.wait_until(
        lambda: (
            queue(slurm).get(again) == "RUNNING"
            and log_of(submit.folder, requeued).count("begins") == 2
        ),
        f"second run of {requeued}",
        LONG,
    )
    slurm.kill("slurmd")  # its jobs go on meanwhile
    time.sleep(2)
    slurm.start("slurmd")
    slurm.up()
    status = submit(*TWELVE, "--status")
    assert status.stderr == "" and re.search(
        rf"^{cancelled} +waiting .*stopped after epoch", status.stdout, re.MULTILINE
    ), status.stdout
    printed = finish(submit)
    assert all("goes on at epoch" in log_of(submit.folder, job) for job in (cancelled, requeued))
    folder, out = here
    assert left(submit.folder) == left(folder)
    assert comparison(printed) == comparison(out)
    assert_each_ran_once_to_its_end(submit.folder)


def test_a_job_preempted_and_hit_by_its_time_limit_goes_on_in_others_of_that_length(
    slurm, submit, here, tmp_path_factory
):
    """Slurm warns 10 seconds before the limit of a minute, or up to half a minute earlier: it looks
    twice a minute. It preempts within some seconds, in which a job of the experiments above would
    end.
    """
    seconds = (
        json.loads((here[0] / "saved_plots" / "vgg" / "vgg_uni_digits_0_12.json").read_text())[
            "seconds"
        ]
        / 8
    )
    long = [
        *SMALL,
        "--methods",
        "uniform",
        "--seeds",
        "0",
        "--ratios",
        "0.125",
        *TRAIN,
        f"epochs={math.ceil(100 / seconds)}",
    ]
    job = "vgg_uni_digits_0@12"
    assert (
        submit(*long, "--cluster", "slurm", "--slurm", "time=1", "signal=USR2@10").returncode == 0
    )
    slurm.wait_until(lambda: "epoch 1:" in log_of(submit.folder, job), f"epoch of {job}")
    slurm.ask(
        "sbatch",
        "--partition=urgent",
        f"--cpus-per-task={CPUS}",
        "--time=1",
        "--output=/dev/null",
        "--wrap=sleep 3",
    )
    slurm.wait_until(
        lambda: "exit status 143" in log_of(submit.folder, job), f"preemption of {job}"
    )
    undisturbed = tmp_path_factory.mktemp("undisturbed")  # meanwhile, on the other core
    subprocess.run(
        command(*long),
        cwd=undisturbed,
        stdout=subprocess.DEVNULL,
        timeout=LONG,
        env=environment(slurm),
        check=True,
    )
    watched = submit(*long, "--watch")
    assert (watched.returncode, watched.stderr) == (0, "")
    log = log_of(submit.folder, job)
    assert (
        log.count("submit.py: begins") == log.count("goes on at epoch") + 1 >= 3
        and log.count("\n  best ") == 1
    )
    assert "Caught signal SIGUSR2" in "".join(
        path.read_text()
        for path in (submit.folder / "saved_models" / "submitted").rglob("*log.err")
    )
    assert left(submit.folder) == left(undisturbed)


def test_a_search_that_fails_keeps_only_those_waiting_that_need_it(slurm, submit):
    command = [
        *SMALL,
        "--limit-train",
        "100",
        "--search",
        "found",
        "--methods",
        "neuralscale",
        "uniform",
        "--seeds",
        "0",
        "--ratios",
        "0.0625",
        "--search-with",
        "lr=100",
        "momentum=0.99",
        "batch-size=5",
        "ratio=0.125",
        "iterations=1",
        "--train-with",
        "epochs=2",
        "batch-size=50",
    ]
    assert submit(*command, "--cluster", "slurm", "--slurm", "time=5").returncode == 0
    slurm.wait_until(lambda: not queue(slurm), "empty queue", LONG)
    status = submit(*command, "--status")
    assert status.returncode == 1 and "3 jobs: 1 finished, 1 waiting, 1 failed" in status.stdout
    assert re.search(
        r"^found@search +failed .* finite number.*: saved_models/vgg/found@search.log$",
        status.stdout,
        re.MULTILINE,
    )
    assert re.search(
        r"^vgg_10_eff_digits_late_0@6 +waiting .*needs found@search, which failed$",
        status.stdout,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    "option, naming",
    [("nonsense=3", "nonsense"), ("partition=nowhere", "partition"), ("gres=gpu:8", "")],
)
def test_what_sbatch_refuses_is_one_line_and_nothing_is_submitted(option, naming, slurm, submit):
    refused = submit(*TWELVE, "--cluster", "slurm", "--slurm", "time=1", option)
    assert_refused(Outcome(refused.returncode, refused.stdout, refused.stderr), "--slurm", naming)
    assert (
        queue(slurm) == {} and list((submit.folder / "saved_models" / "submitted").iterdir()) == []
    )
