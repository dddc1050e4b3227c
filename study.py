"""Our own evidence: the tables and figures of a study, from its stored results; with --run, what is missing of it is run first."""
from pathlib import Path

from utils.script import run
from utils.settings import Places
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--study", "full: the study of docs/study.md; digits: the same in small", choices=["full", "digits"], default="full")
    p.add("--run", "run what is missing; the same command again goes on with it", action="store_true")
    p.add("--jobs", "trainings and searches at once, each on one thread (default: as many as there are cores)", type=int, metavar="N")
    p.add("--out", "the folder that figures are drawn into", default="images", metavar="DIR")
    given, places = p.settled(Places(record_dir="prune_record/study", plot_dir="saved_plots/study", model_dir="saved_models/study"))

    from utils.study.plan import study
    parts, pictures = study(given["study"], places.data), Path(given["out"])
    if given["run"]:
        from utils.study.run import run_missing
        run_missing(parts, places, given["jobs"])
    from utils.study.report import report
    report(parts, places, pictures)


if __name__ == "__main__":
    run(main, resumes=False)
