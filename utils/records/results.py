"""The results of trainings: what they hold, and reading them without trusting them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from model import BUDGETS, COLOURS
from utils.errors import UserError
from utils.records.files import MOST, are_widths, is_number, layers_in, read_json
from utils.records.run import OTHERWISE, Begun, same_settings
from utils.records.shapes import shape_in
from utils.records.sizes import size_of
from utils.settings import TrainingSettings, dataset_name, stored

# Of work that was stored before these could be chosen.
UNSAID = {"convcut": False, "budget": "params", "round_to": 1, "min_width": 0, "keep": []}
SUBJECT = ("model", "dataset")  # fields that a result has at its top, the data set by its name


class Origin(TypedDict):
    """The search that a network came from."""

    search: str
    iteration: int  # counted from 0
    fingerprint: str  # of its alpha and beta, or of MorphNet's widths


class Result(TypedDict, total=False):
    """One training. Beside these the file has each setting by its name, for readers of earlier
    versions."""

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
    # what the network was scaled to; results of earlier versions, to parameters, do not say
    budget: str
    # what its widths are multiples of; results of earlier versions, any whole number, do not say
    round_to: int
    min_width: int  # the fewest filters of a layer; results of earlier versions, none, do not say
    # layers that have the template's widths; results of earlier versions, none, do not say
    keep: list[str]
    filters: list[int]
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
    """The result of one training. Raises UserError for anything else."""
    result: Result = read_json(path)
    try:
        curve: Any = result["test_acc"]
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


# --- whether a result is the one that is asked for ------------------------------------------------


def asked(
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
    """What a training depends on, by the names that its result has for it, but for what follows
    from its data."""
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
    """What a training is taken to have been begun with where its result does not say."""
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
    """Raises UserError where the ``result`` that lies at ``path`` is of another training than is
    ``asked`` for."""
    has = {**unsaid, "channels": COLOURS, **result["settings"], **result}
    same_settings(path, asked, {name: has.get(name) for name in asked}, work=work, advice=advice)
