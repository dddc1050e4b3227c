"""The results of trainings: their contents, and reading them without trust."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from model import BUDGETS, COLOURS
from utils.errors import UserError
from utils.records.files import MOST, are_widths, is_number, layers_in, read_json
from utils.records.paths import SIZES
from utils.records.run import OTHERWISE, Begun, same_settings
from utils.records.shapes import shape_in
from utils.records.sizes import size_of
from utils.settings import TrainingSettings, dataset_name, stored

# the settings of work that was stored before these could be chosen
UNSAID = {"convcut": False, "budget": "params", "round_to": 1, "min_width": 0, "keep": []}
SUBJECT = ("model", "dataset")  # stored at the top of a result, the data set by its name


class Origin(TypedDict):
    """The search that a network came from."""

    search: str
    iteration: int  # counted from 0
    fingerprint: str  # of its alpha and beta, or of MorphNet's widths


class Result(TypedDict, total=False):
    """One training.

    The file also has each setting by its name, for readers of earlier versions.
    """

    model: str
    dataset: str
    num_classes: int
    image_size: int | list[int]  # a side, or height and width
    channels: int  # where they are not 3
    method: str
    origin: Origin | None  # None: no search, or a result of an earlier version
    # of a target, which is at about this ratio
    ratio: float
    target: str  # only where the network was scaled to one: 25%, 50M, of what budget says
    seed: int
    convcut: bool
    # earlier versions did not store the following; they had params, 1, 0 and no layers
    budget: str  # the unit in which the network was scaled to its budget
    round_to: int  # all widths are multiples of it
    min_width: int  # the fewest filters of a layer
    keep: list[str]  # layers that have the template's widths
    filters: list[int]
    before: dict[str, Any]  # of a pruned network: the params, macs and test_acc that it had
    params: int
    macs: int
    images: int
    test_images: int
    validation_images: int  # only where images were held out, as the two below
    train_loss: list[float]
    train_acc: list[float]
    test_loss: list[float]
    test_acc: list[float]
    val_loss: list[float]
    val_acc: list[float]
    best: float
    last: float
    seconds: float
    settings: dict[str, Any]
    versions: dict[str, str]
    threads: int
    commit: str | None


def read_result(path: Path) -> Result:
    """Return the result of one training. Raises UserError for any other file."""
    result: Result = read_json(path)
    try:
        curve: Any = result["test_acc"]

        # curves and numbers that agree with each other, and all that a reader of results needs
        if not (
            isinstance(curve, list)
            and all(is_number(accuracy, 0, 100) for accuracy in curve)
            and result["best"] == max(curve)
            and result["last"] == curve[-1]
            and len(held := result.get("val_acc", curve)) == len(curve)
            and all(is_number(accuracy, 0, 100) for accuracy in held)
            and is_number(result["ratio"], 1e-9, 64)
            and is_number(result["seed"], 0, MOST, whole=True)
            and all(is_number(result[key], 1, MOST, whole=True) for key in ("params", "macs"))
            and shape_in(result)
            and result.get("budget", "params") in list(BUDGETS)
            and size_of(result) is not None
            and is_number(result.get("round_to", 1), 1, MOST, whole=True)
            and is_number(result.get("min_width", 0), 0, MOST, whole=True)
            and isinstance(result.get("keep", []), list)
            and isinstance(result["convcut"], bool)
            and ("before" not in result or is_before(result["before"]))
            and isinstance(result["settings"], dict)
            and ("val_acc" in result) == (result["settings"].get("validate") is not None)
            and all(isinstance(result[key], str) for key in ("model", "dataset", "method"))
            and are_widths(result["filters"], layers_in(result["model"], result["filters"]))
        ):
            raise ValueError("its numbers disagree")
    except (KeyError, TypeError, ValueError, IndexError, UserError) as error:
        raise UserError(
            f"{path}: not the result of a training, or damaged ({error}); restore it or remove it"
        ) from None
    return result


def is_before(before: Any) -> bool:
    """Return True for what a pruned network was before. Raises KeyError or TypeError for less."""
    sizes = all(is_number(before[key], 1, MOST, whole=True) for key in ("params", "macs"))
    return sizes and is_number(before["test_acc"], 0, 100)


def results_of(folder: Path, name: str, dataset: str | None = None) -> list[tuple[Path, Result]]:
    """Return the results of NAME and NAME_0, NAME_1, ... in ``folder``. Raises UserError if there
    are none, for damaged ones, and for those of another ``dataset`` than is asked for."""
    pattern = re.compile(rf"{re.escape(name)}(?:_\d+)?_{SIZES}\.json")
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        if pattern.fullmatch(path.name):
            result = read_result(path)
            if dataset not in (None, result["dataset"]):
                raise UserError(f"{path}: of {result['dataset']}, not {dataset}")
            found.append((path, result))
    if not found:
        raise UserError(f"{name}: no {name}_<ratio>.json or {name}_<seed>_<ratio>.json in {folder}")
    return found


# --- comparing results with what is asked for ----------------------------------------------------


def identity_of(
    settings: TrainingSettings,
    method: str,
    ratio: float,
    *,
    target: str | None = None,
    convcut: bool = False,
    budget: str = "params",
    round_to: int = 1,
    min_width: int = 0,
    keep: Sequence[str] = (),
) -> Begun:
    """Return everything that a training depends on, by the names in its result, except for its
    data."""
    return {
        "model": settings.model,
        "dataset": dataset_name(settings.dataset),
        "method": method,
        "ratio": ratio,
        **({"target": target} if target else {}),
        "convcut": convcut,
        "budget": budget,
        "round_to": round_to,
        "min_width": min_width,
        "keep": list(keep),
        **stored(settings, (*SUBJECT, "image_size", "channels")),
    }


def unsaid(defaults: TrainingSettings) -> Begun:
    """Return the values that a training is taken to have had where its result has none."""
    return {**UNSAID, **stored(defaults, SUBJECT)}


def refuse_other(
    path: Path,
    result: Mapping[str, Any],
    asked: Begun,
    unsaid: Begun,
    *,
    work: str = "begun",
    advice: str = OTHERWISE,
) -> None:
    """Raise UserError if the ``result`` at ``path`` is of another training than the one ``asked``
    for."""
    has = {**unsaid, "channels": COLOURS, **result["settings"], **result}
    same_settings(path, asked, {name: has.get(name) for name in asked}, work=work, advice=advice)
