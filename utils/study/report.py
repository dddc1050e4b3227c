"""What a study has found: its tables printed, its figures drawn, from the stored results alone."""
from pathlib import Path

from utils.errors import UserError
from utils.settings import Places
from utils.study.outcomes import Findings
from utils.study.pictures import draw_accuracy, draw_descent
from utils.study.plan import Part
from utils.study.run import jobs_in
from utils.study.tables import RULE, told


def report(part: Part, places: Places, folder: Path) -> None:
    """Prints the tables of a part, and draws its figures into ``folder``. Raises UserError where nothing has come out yet."""
    findings = Findings(part, places)
    if not any(outcomes for _, outcomes in findings.entries):
        raise UserError(f"{places.plot_dir}: no result of {part.title} yet; study.py --run makes them")
    print(f"{RULE}\n")
    for paragraph in told(findings, jobs_in(part, places)):
        print(f"{paragraph}\n")
    tables = {table.key: table for table in part.tables}
    for axis in ("params", "macs"):
        draw_accuracy(findings, tables["main"], axis, folder / f"study_{part.key}_{axis}.png")
    draw_descent(findings, tables["descent"], folder / f"study_{part.key}_descent.png")
