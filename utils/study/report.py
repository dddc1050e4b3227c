"""Prints a study's tables and draws its figures, from the stored results alone."""

from pathlib import Path

from utils.errors import UserError
from utils.records.paths import study_figure
from utils.settings import Places
from utils.study.outcomes import Findings
from utils.study.parts import Part
from utils.study.pictures import AXES, draw_accuracy, draw_descent
from utils.study.tables import RULE, paragraphs


def report_study(parts: list[Part], places: Places, folder: Path) -> None:
    """Print the tables of a study, and draw its figures into ``folder``.

    Raises UserError if there is no result yet.
    """
    found = [findings for part in parts if (findings := Findings(part, places)).begun]
    if not found:
        raise UserError(f"{places.plot_dir}: no result of the study yet; study.py --run makes them")
    print(f"{RULE}\n")
    for findings in found:
        for paragraph in paragraphs(findings):
            print(f"{paragraph}\n")
        if findings.part.drawn:
            for axis in AXES:
                draw_accuracy(findings, axis, study_figure(folder, findings.part.key, axis))
            draw_descent(findings, study_figure(folder, findings.part.key, "descent"))
