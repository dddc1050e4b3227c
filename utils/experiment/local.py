"""Runs jobs on this machine, several at a time, each with its GPU or its share of the cores."""

import os
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from utils.errors import UserError
from utils.experiment.jobs import Job
from utils.experiment.state import JobState, state_of
from utils.experiment.warm import WarmJob, begin
from utils.experiment.work import Process, end, threads
from utils.script import Terminated
from utils.settings import Cluster

POLL = 0.2  # seconds
PATIENCE = 2.0  # seconds between looks at jobs that others run


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environments(cluster: Cluster) -> list[dict[str, str]]:
    """Return the environment of each of the jobs that run at once. Raises UserError for too many
    GPUs."""
    jobs = cluster.jobs or 1
    share = threads(max(1, cores() // jobs))
    if not cluster.gpus:
        return [share] * jobs
    import torch

    if cluster.gpus > (there := torch.cuda.device_count()):
        raise UserError(f"--gpus {cluster.gpus}: this machine has {there}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(there)))
    return [
        {**share, "CUDA_VISIBLE_DEVICES": visible.split(",")[slot % cluster.gpus]}
        for slot in range(jobs)
    ]


class LocalRunner:
    """Runs the jobs of an experiment on this machine, each once: to its end or its failure."""

    def __init__(
        self,
        states: list[JobState],
        slots: list[dict[str, str]],
        time_left: Callable[[list[Job]], float | None] = lambda _: None,
    ):
        """``time_left`` returns the seconds that unfinished jobs may take, or None if that is not
        known."""
        self.slots, self.total, self.time_left = slots, len(states), time_left
        # True if it ended well
        self.ended = {state.job.key: True for state in states if state.kind == "finished"}
        self.pending = [state.job for state in states if state.kind != "finished"]
        self.running: dict[int, tuple[Job, WarmJob | Process]] = {}  # by slot
        self.look = 0.0  # the time to look again for a job to start

        self.bar = tqdm(
            total=self.total,
            initial=len(self.ended),
            unit="job",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def run(self) -> None:
        """Run all jobs. Raises KeyboardInterrupt or Terminated, with advice, once all have
        stopped."""
        try:
            while self.pending or self.running:
                self.reap()
                if (
                    len(self.running) < len(self.slots)
                    and time.monotonic() >= self.look
                    and not self.begin_one()
                ):
                    # all jobs that are left wait, or are run by others
                    self.look = time.monotonic() + PATIENCE
                time.sleep(POLL)
        except (KeyboardInterrupt, Terminated) as stop:
            self.stop()
            raise type(stop)("finished epochs are saved. Go on with the same command") from None
        finally:
            self.bar.close()

    def reap(self) -> None:
        """Record which jobs have ended, and how."""
        for slot, (job, process) in list(self.running.items()):
            if (status := process.poll()) is not None:
                del self.running[slot]
                end(job.log, status)
                state = state_of(job)
                if state.kind == "running":  # another process was quicker
                    self.pending.append(job)
                else:
                    self.over(job, state.kind == "finished", described(state))

    def begin_one(self) -> bool:
        """Start the next job that can start. Jobs that can't any more, or are done, are over."""
        for job in list(self.pending):
            if job.needs and job.needs.key not in self.ended:
                continue

            state = state_of(job)
            if state.kind == "running":
                continue

            self.pending.remove(job)
            if state.kind == "finished":
                self.over(job, True, described(state))
            elif job.needs and not self.ended[job.needs.key]:
                self.over(job, False, f"not begun, for {job.needs.name} failed")
            else:
                slot = min({*range(len(self.slots))} - {*self.running})
                self.running[slot] = job, begin(job.command, job.log, self.slots[slot], apart=True)
                self.bar.set_postfix_str(
                    ", ".join(job.name for job, _ in self.running.values())[:100]
                )
                return True
        return False

    def over(self, job: Job, well: bool, how: str) -> None:
        """Record that a job is over, and print a line."""
        self.ended[job.key] = well
        self.look = 0.0  # a job may have waited for it
        self.bar.update(1)

        undone = [*self.pending, *(job for job, _ in self.running.values())]
        left = (
            f", about {tqdm.format_interval(seconds)} left"
            if undone and (seconds := self.time_left(undone))
            else ""
        )

        self.bar.write(
            f"{job.name}: {how} ({len(self.ended)} of {self.total}{left})", file=sys.stdout
        )
        sys.stdout.flush()

    def stop(self) -> None:
        """Ask all jobs to stop, which takes a moment, and wait for them."""
        for _, process in self.running.values():
            process.terminate()
        for job, process in self.running.values():
            end(job.log, process.wait())


def described(state: JobState) -> str:
    """Return how a job ended, in a few words."""
    if state.kind == "finished":
        return "finished" + (f", best {state.accuracy:.2f} %" if state.accuracy is not None else "")
    return (
        f"{state.kind}: {state.note}; see {state.job.log}"
        if state.kind == "failed"
        else f"stopped ({state.note})"
    )
