"""Submits jobs to Slurm through submitit, and reads its queue. sacct is not used, for not every
Slurm has it."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.experiment.jobs import Job
from utils.experiment.state import Queue, Queued, states_of
from utils.experiment.work import STOPPED, begin, end, threads
from utils.records.files import read_json, write_json
from utils.records.locks import exclusive
from utils.records.paths import PROJECT, submission_folder, submission_record, submissions
from utils.settings import Cluster

OURS = (
    "array",
    "dependency",
    "job-name",
    "output",
    "error",
    "open-mode",
    "requeue",
    "no-requeue",
    "kill-on-invalid-dep",
)
# by a job's time limit; bounded, for the sake of a job whose epochs are longer than that
REQUEUES = 1000
STOPPING = 600  # seconds until a job ends by itself after it was asked to stop
PATIENCE = 30  # seconds that Slurm's commands may take


class Work:
    """One job, as submitit runs it on a node. It can be called again after ``checkpoint``."""

    def __init__(self, command: list[str], log: Path):
        self.command, self.log = command, log
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        cores = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or "1"
        self.process = begin(self.command, self.log, threads(int(cores)))
        while (status := self.process.poll()) is None:
            time.sleep(0.2)
        end(self.log, status)
        # stopped by Slurm, which will end this process too, and knows whether the job is cancelled
        # or queued again
        if status in STOPPED:
            time.sleep(STOPPING)

        if status:
            raise SystemExit(f"{self.command[0]} ended with exit status {status}: {self.log}")

    def checkpoint(self) -> Any:
        """Stop the job at its last epoch, and return what is to be called when it continues.

        submitit calls this when time runs out.
        """
        from submitit.helpers import DelayedSubmission

        if self.process and self.process.returncode is None:
            self.process.terminate()
            # __call__ may be in poll, which can't be entered twice
            ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            if ended:
                end(
                    self.log,
                    ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status,
                )
        return DelayedSubmission(Work(self.command, self.log))


def sbatch_options(cluster: Cluster) -> dict[str, str | bool]:
    """Return the options for sbatch by their long names; an option without a value is True.

    Raises UserError for options that submit.py sets itself, and without a time limit.
    """
    options: dict[str, str | bool] = {}
    for text in cluster.slurm or ():
        key, equals, value = text.lstrip("-").partition("=")
        if not key or key in options or key in OURS:
            raise UserError(
                f"--slurm {text}: "
                + (
                    "must be KEY=VALUE"
                    if not key
                    else "is there twice"
                    if key in options
                    else "submit.py sets it itself; leave it out"
                )
            )
        options[key] = value if equals else True

    if "time" not in options:
        raise UserError(
            "--slurm: say how long a job may run, as in time=08:00:00; one that needs longer "
            "goes on in another of that length"
        )
    return options


def executor_of(cluster: Cluster, folder: Path) -> Any:
    """Return submitit's executor. Raises UserError where it or Slurm is not installed."""
    options = sbatch_options(cluster)

    if not (shutil.which("sbatch") and shutil.which("srun")):
        raise UserError(
            "--cluster slurm: there is no sbatch on this machine; run submit.py where you "
            "submit jobs, or --cluster local"
        )

    try:
        import submitit
    except ImportError:
        raise UserError(
            "--cluster slurm needs submitit: pip install -r requirements-cluster.txt"
        ) from None

    executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    executor.update_parameters(
        setup=setup(),
        array_parallelism=cluster.jobs or 100_000,
        additional_parameters={"requeue": True, "kill-on-invalid-dep": "yes", **options},
    )
    return executor


def setup() -> list[str]:
    """Return the lines of a job's shell script before its command."""
    return [
        f"export PYTHONPATH={shlex.quote(str(PROJECT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}",
    ]


def submit_to_slurm(jobs: list[Job], cluster: Cluster, model_dir: str) -> int:
    """Submit every job that is not finished, running or queued; return their number. Raises
    UserError.

    Jobs that need no unfinished job come first, as one array; then, for each job that others need,
    an array of these, which starts when it has ended well. With a limit of jobs at once, an array
    also waits for all that were submitted before it.
    """
    folder = submissions(model_dir)
    executor_of(cluster, folder)  # refuses what is impossible before anything is written
    with exclusive(folder / "queue"):
        queue = queue_of(model_dir)
        forget(model_dir, queue)

        states = states_of(jobs, queue)
        todo = [state.job for state in states if state.kind in ("waiting", "failed")]
        undone = {state.job.key for state in states if state.kind != "finished"}

        # groups of jobs that need the same job
        ids = {key: queued.id for key, queued in queue.items()}
        groups: dict[str, list[Job]] = {"": []}  # by what they need
        for job in todo:
            groups.setdefault(
                job.needs.key if job.needs and job.needs.key in undone else "", []
            ).append(job)
        if elsewhere := {*groups} - {"", *ids, *(job.key for job in todo)}:
            raise UserError(
                f"{elsewhere.pop()} runs, but not in Slurm's queue; wait for it, others need it"
            )

        for needed, group in groups.items():
            after = [f"afterok:{ids[needed]}"] if needed in ids else []
            if cluster.jobs and ids:
                after.append(
                    "afterany:" + ":".join(sorted({id.partition("_")[0] for id in ids.values()}))
                )
            if group:
                ids |= submit_array(cluster, group, ",".join(after), model_dir)
    return len(todo)


def submit_array(cluster: Cluster, jobs: list[Job], after: str, model_dir: str) -> dict[str, str]:
    """Submit ``jobs`` as one array that starts ``after`` others, and return their ids by key.

    The keys are recorded first: whatever happens then, the queue can be read. submitit's files are
    in a folder of this array's own, and are removed with it where it is refused. Raises UserError.
    """
    name = f"neuralscale-{uuid.uuid4().hex[:12]}"
    note, folder = submission_record(model_dir, name), submission_folder(model_dir, name)
    write_json(note, {"jobs": [job.key for job in jobs]})
    executor = executor_of(cluster, folder)
    executor.update_parameters(job_name=name, dependency=after or None)
    try:
        # the error has what sbatch complains about too
        with contextlib.redirect_stderr(io.StringIO()):
            begun = executor.submit_array([Work(job.command, job.log.absolute()) for job in jobs])
    except (RuntimeError, OSError) as error:  # submitit's, where sbatch refuses
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)
        said = [line for line in str(error).splitlines() if line.strip()] or ["refused"]
        raise UserError(f"--slurm: {said[0]}") from None

    return {job.key: task.job_id for job, task in zip(jobs, begun)}


def queue_of(model_dir: str) -> Queue:
    """Return Slurm's queue of submitted jobs, by their keys. Raises UserError if Slurm can't be
    asked."""
    known = noted(model_dir)
    if not known:
        return {}

    try:
        asked = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i|%K|%T|%r|%j"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        raise UserError(
            f"{submissions(model_dir)}: jobs were submitted to Slurm, and there is no squeue here; "
            "run submit.py where you submitted them, or remove that folder"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"squeue does not answer within {PATIENCE} s; try again later") from None
    if asked.returncode:
        raise UserError(
            "Slurm can't be asked: "
            f"{(asked.stderr.strip().splitlines() or ['squeue failed'])[0]}; try again later"
        )

    # entries with a name that we gave
    queue = {}
    for line in asked.stdout.splitlines():
        # other jobs may have any characters in their names
        id, index, state, reason, name = [*line.split("|", 4), *[""] * 4][:5]
        if name in known:
            queue[known[name][int(index) if index.isdigit() else 0]] = Queued(
                id, state not in ("PENDING", "SUSPENDED"), reason
            )
    return queue


def forget(model_dir: str, queue: Queue) -> None:
    """Remove the records of submissions without jobs in the ``queue``."""
    for name, keys in noted(model_dir).items():
        if not any(key in queue for key in keys):
            submission_record(model_dir, name).unlink(missing_ok=True)


def noted(model_dir: str) -> dict[str, list[str]]:
    """Return the keys of the jobs of each recorded submission, by its name.

    Raises UserError for a damaged record.
    """
    found = {}
    for note in submissions(model_dir).glob("neuralscale-*.json"):
        try:
            content = read_json(note)
        except UserError:
            if note.exists():
                raise
            continue  # its jobs have ended, and another process has just removed it
        keys = content.get("jobs") if isinstance(content, dict) else None
        if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise UserError(
                f"{note}: damaged; when none of your jobs is in Slurm's queue any more, remove it"
            )
        found[note.stem] = keys
    return found
