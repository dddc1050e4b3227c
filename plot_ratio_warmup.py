"""Draws accuracy against parameters for warm-ups of P epochs; with --convcut, for a convolution in
every shortcut."""

from pathlib import Path

from utils.errors import UserError
from utils.script import run
from utils.settings import Comparison, Folders, Task, dataset_facts
from utils.settings.parser import Parser

WARMUPS = (0, 2, 5, 10, 15, 30, 60)


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_....png)", metavar="FILE"
    )
    p.add(
        "--convcut",
        "compare uniform networks with and without identity shortcuts",
        action="store_true",
    )
    given, task, asked, folders = p.parse_settings(Task(), Comparison(), Folders())

    from utils.figures.comparison import show
    from utils.figures.curves import subject_of
    from utils.figures.gather import gather
    from utils.figures.labels import CurveSpec
    from utils.records.paths import file_name_of
    from utils.records.published import published_warmup

    subject = subject_of(task.model, task.dataset, folders.plot_dir)
    name, short = file_name_of(subject.model), dataset_facts(subject.dataset).short
    if given["convcut"]:
        what, title, known = (
            "convcut",
            "identity and convolution shortcuts",
            subject.known("uniform", "convcut"),
        )
    else:
        what, title, known = "warmup", "length of the warm-up", subject.known("uniform")
        usual = published_warmup(subject.model, subject.dataset)
        known += [
            CurveSpec(
                "neuralscale_15" if warmup == usual else f"warmup_{warmup}",
                f"{name}_{warmup}_eff_{short}",
                warmup,
            )
            for warmup in WARMUPS
        ]
    curves = gather(
        subject,
        known,
        runs=asked.runs,
        published=asked.published,
        # how long a search warmed up, its trainings do not say
        found=lambda kind: kind in ("uniform", what),
    )
    if not asked.runs and all(curve.method == "uniform" for curve in curves):
        names = ", ".join(method.name for method in known[1:])
        raise UserError(
            f"nothing to compare with the uniform networks of {subject.model} on "
            f"{subject.dataset}: nothing was published, and {subject.folder} has no runs {names}; "
            "train some, or name them with --runs LABEL=NAME"
        )
    out = Path(given["out"] or subject.folder / f"{subject.dataset}_{what}_{asked.axis}.png")
    show(curves, subject, asked, f"{subject.title}: {title}", out)


if __name__ == "__main__":
    run(main)
