"""Runs a whole experiment, a search and all its trainings, on this machine or on Slurm; the same
command again goes on with it."""

import shlex

from utils.script import run
from utils.settings import Cluster, Experiment, Machine, Places
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--dry-run",
        "print the jobs as the command lines that one would type, and do nothing",
        action="store_true",
    )
    p.add("--status", "show how far the jobs are, and do nothing", action="store_true")
    p.add(
        "--watch",
        "show how far the jobs are, and again, until none runs or is about to",
        action="store_true",
    )
    given, experiment, cluster, machine, places = p.parse_settings(
        Experiment(), Cluster(), Machine(), Places()
    )

    from utils.experiment.checks import check_networks
    from utils.experiment.planner import jobs_of

    jobs, looking = jobs_of(experiment, places, machine), given["status"] or given["watch"]
    if not looking:
        check_networks(experiment, jobs, places)
    if given["dry_run"]:
        for job in jobs:
            print(f"python3 {shlex.join(job.command)}")
        return
    from utils.experiment.submit import follow, report_experiment, submit

    if looking:
        states = follow(jobs, places, renew=given["watch"])
    else:
        states = submit(jobs, places, cluster)
    report_experiment(states, experiment, places, ended=cluster.cluster == "local" and not looking)


if __name__ == "__main__":
    run(main)
