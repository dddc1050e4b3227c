"""Our own evidence: tables and figures from the stored results of the study; runs what is missing of it, where that is asked for."""
from pathlib import Path

from utils.script import run
from utils.settings import Places
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--study", "the study, or the same in small on digits", choices=["full", "digits"], default="full")
    p.add("--run", "run first what is missing; the same command again goes on with it", action="store_true")
    p.add("--jobs", "jobs at once, with --run", type=int, default=1, metavar="N")
    p.add("--record-dir", "where searches are recorded", default="prune_record/study", metavar="DIR")
    p.add("--plot-dir", "where results and figures are", default="saved_plots/study", metavar="DIR")
    p.add("--model-dir", "where weights and unfinished work are kept", default="saved_models/study", metavar="DIR")
    p.add("--data", "where the data sets are, as folders or archives; those that are downloaded go there", default="data", metavar="DIR")
    p.add("--out", "the folder that figures are drawn into", default="images", metavar="DIR")
    given = p.given()
    places = Places(**{name: given[name] for name in ("data", "record_dir", "plot_dir", "model_dir")})

    from utils.study.plan import study
    parts = study(given["study"], places.data)
    if given["run"]:
        from utils.study.run import run_missing
        run_missing(parts, places, given["jobs"])
    from utils.study.report import report
    for part in parts:
        report(part, places, Path(given["out"]))


if __name__ == "__main__":
    run(main, resumes=False)
