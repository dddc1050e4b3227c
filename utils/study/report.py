"""What a study has found: its tables printed, its figures drawn, from the stored results alone."""

from pathlib import Path

from utils.errors import UserError
from utils.records.paths import study_figure
from utils.settings import Places
from utils.study.outcomes import Findings
from utils.study.pictures import AXES, draw_accuracy, draw_descent
from utils.study.plan import Part
from utils.study.tables import RULE, told


def report(parts: list[Part], places: Places, folder: Path) -> None:
    """Prints the tables of a study, and draws its figures into ``folder``. Raises UserError where
    nothing has come out yet."""
    found = [findings for part in parts if (findings := Findings(part, places)).begun]
    if not found:
        raise UserError(f"{places.plot_dir}: no result of the study yet; study.py --run makes them")
    print(f"{RULE}\n")
    for findings in found:
        for paragraph in told(findings):
            print(f"{paragraph}\n")
        if findings.part.drawn:
            for axis in AXES:
                draw_accuracy(findings, axis, study_figure(folder, findings.part.key, axis))
            draw_descent(findings, study_figure(folder, findings.part.key, "descent"))
