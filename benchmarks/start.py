"""How long a training takes to begin: seconds from when torch is imported until the images are
read, and until its first step has ended.

Once with nothing decoded before, and --repeats times again. ratio_swipe.py runs as a process, for
this project and for those that --against names, other copies of it, by turns. Processor seconds are
printed too: they don't count what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def begin(project: str, dataset: str, data: str, ratio: str) -> None:
    """The process that is measured: prints, as JSON, the seconds and processor seconds of torch's
    import, the data and the first step."""
    sys.path.insert(0, project)
    passed = {"import of torch": (time.perf_counter(), time.process_time())}

    def seconds(since: str) -> tuple[float, float]:
        return time.perf_counter() - passed[since][0], time.process_time() - passed[since][1]

    import torch  # noqa: F401

    found = {"import of torch": seconds("import of torch")}
    passed["torch"] = time.perf_counter(), time.process_time()
    import runpy

    from utils.training import loop, prepare

    load, step = prepare.load_data, loop.training_step

    def loaded(*args, **options):
        data = load(*args, **options)
        found["images read"] = seconds("torch")
        return data

    def stepped(*args):
        step(*args)
        found["first step"] = seconds("torch")
        print(json.dumps(found), flush=True)
        raise SystemExit

    prepare.load_data, loop.training_step = loaded, stepped
    sys.argv = [
        "ratio_swipe.py",
        "--save",
        "start_0",
        "--uniform",
        "--ratios",
        ratio,
        "--dataset",
        dataset,
        "--data",
        data,
    ]
    runpy.run_path(str(Path(project) / "ratio_swipe.py"), run_name="__main__")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dataset", required=True)
    p.add_argument("--data", default="data")
    p.add_argument("--ratio", default="0.0625")
    p.add_argument("--repeats", type=int, default=2)
    p.add_argument("--against", nargs="*", default=[], metavar="PROJECT")
    args = p.parse_args()
    projects = [*args.against, str(PROJECT)]
    with tempfile.TemporaryDirectory() as place:
        for number in range(1 + args.repeats):
            for project in projects:
                own = Path(place) / str(projects.index(project))
                own.mkdir(exist_ok=True)
                code = (
                    f"import sys; sys.path.insert(0, {str(PROJECT / 'benchmarks')!r}); import "
                    "start; start.begin(*sys.argv[1:])"
                )
                command = [
                    sys.executable,
                    "-c",
                    code,
                    project,
                    os.path.abspath(args.dataset) if Path(args.dataset).is_dir() else args.dataset,
                    os.path.abspath(args.data),
                    args.ratio,
                ]
                ended = subprocess.run(
                    command, cwd=own, stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(ended.stdout.splitlines()[-1])
                told = ", ".join(
                    f"{what} {wall:.2f} s ({cpu:.2f} of the processor)"
                    for what, (wall, cpu) in found.items()
                )
                print(f"{project}, start {number + 1}: {told}", flush=True)


if __name__ == "__main__":
    main()
