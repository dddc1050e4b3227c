"""Our own evidence: the tables and figures of a study, from its stored results; with --run, what is
missing of it is run first."""

from dataclasses import replace
from pathlib import Path

from utils.errors import UserError
from utils.script import run
from utils.settings import Places
from utils.settings.parser import Parser

KEPT = {
    name: Places(
        record_dir=f"prune_record/{folder}",
        plot_dir=f"saved_plots/{folder}",
        model_dir=f"saved_models/{folder}",
    )
    for name, folder in (("full", "study"), ("digits", "study_digits"))
}
KEPT["trained"] = replace(  # with the first study's searches
    KEPT["full"], plot_dir="saved_plots/study_trained", model_dir="saved_models/study_trained"
)


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--study",
        "full: the first of docs/study.md; trained: the second, of networks trained to the end; "
        "digits: the first in small, kept in .../study_digits",
        choices=[*KEPT],
        default="full",
    )
    p.add(
        "--run", "run what is missing; the same command again goes on with it", action="store_true"
    )
    p.add(
        "--jobs",
        "trainings and searches at once, each on one thread (default: as many as there are cores)",
        type=int,
        metavar="N",
    )
    p.add(
        "--out",
        "the folder that figures are drawn into (default: images, of digits that of its results)",
        metavar="DIR",
    )
    p.add_fields(KEPT["full"])
    given = p.given()
    places = KEPT[given["study"]].with_overrides(given)
    pictures = Path(given["out"] or ("images" if given["study"] != "digits" else places.plot_dir))
    if given["jobs"] is not None and not given["run"]:
        raise UserError(f"--jobs {given['jobs']} goes with --run")

    if given["study"] == "trained":
        from utils.study.trained import parts as trained_parts

        parts = [part.on(places.data) for part in trained_parts()]
    else:
        from utils.study.plan import study

        parts = study(given["study"], places.data)
    if given["run"]:
        from utils.study.missing import run_missing

        run_missing(parts, places, given["jobs"])
    if given["study"] == "trained":
        from utils.study.trained_report import report_trained

        report_trained(places, pictures)
    else:
        from utils.study.report import report_study

        report_study(parts, places, pictures)


if __name__ == "__main__":
    run(main, resumes=False)
