"""Runs a whole experiment, a search and all its trainings, on this machine or on Slurm; the same command again goes on with it."""
import shlex

from utils.script import run
from utils.settings import Cluster, Experiment, Machine, Storage
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--dry-run", "print the jobs as the command lines that one would type, and do nothing", action="store_true")
    p.add("--status", "show how far the jobs are, and do nothing", action="store_true")
    p.add("--watch", "show how far the jobs are, and again, until none runs or is about to", action="store_true")
    p.add_fields(Storage(save="NAME"), only=["data", "record_dir", "plot_dir", "model_dir"])
    given, experiment, cluster, machine = p.settled(Experiment(), Cluster(), Machine())
    storage = Storage(save="NAME").settled(given)

    from utils.experiment.jobs import jobs_of
    jobs = jobs_of(experiment, storage, machine)
    if given["dry_run"]:
        for job in jobs:
            print(f"python3 {shlex.join(job.command)}")
        return
    from utils.experiment.submit import follow, report, submit
    if given["status"] or given["watch"]:
        follow(jobs, storage, renew=given["watch"])
    else:
        submit(jobs, storage, cluster)
    report(jobs, experiment, storage, ended=cluster.cluster == "local" and not (given["status"] or given["watch"]))


if __name__ == "__main__":
    run(main)
