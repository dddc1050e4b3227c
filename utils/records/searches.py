"""The records of searches: what they hold, and reading them without trusting them."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

from model import BUDGETS, expect, is_imported, layers_of, pixels_in, template
from utils.errors import UserError
from utils.powerlaw import FIRST_ROW, FITTED, PowerLaw
from utils.records.files import MOST, are_widths, is_number, layers_in, read_json
from utils.records.paths import release_record, search_record
from utils.records.shapes import shape_in

# of the searches that this version runs; those without a number began to prune an epoch later
RULES = 2


class IterationRecord(TypedDict, total=False):
    """One iteration of a descent. The rows of widths that it recorded are in a file of their
    own."""

    alpha: list[float]
    beta: list[float]
    fit: str  # where alpha and beta come from; records of earlier versions do not say
    filters: list[int]  # the widths that were searched
    rounds: int  # recorded rows
    seconds: float


class SearchRecord(TypedDict, total=False):
    """What a search found. Of what was published there is no more than the iterations, num_classes
    and image_size."""

    model: str
    dataset: str
    num_classes: int
    image_size: int | list[int]  # a side, or height and width
    channels: int  # where they are not 3
    settings: dict[str, Any]
    rules: int
    template: list[int]  # of a network that was read from its graph: its widths then,
    layers: list[list[str]]  # and the layers that have each
    versions: dict[str, str]
    threads: int
    commit: str | None
    iterations: list[IterationRecord]


def read_search(record_dir: str, save: str, model: str, dataset: str | None) -> SearchRecord:
    """The record of a search, checked: of this model (and dataset, if given), its numbers finite
    and of one length.

    Raises UserError otherwise.
    """
    path = search_record(record_dir, save)
    released = release_record(record_dir, save)
    record = read_json(
        path,
        f"is {save!r} the --save name of a finished or begun search?"
        if not released.exists()
        else f"{released} is the original release's record, and has no rows of filters",
    )
    record = check_search(path, record)
    if record["model"] != model or dataset not in (None, record["dataset"]):
        raise UserError(
            f"{path}: a search of {record['model']} on {record['dataset']}, not of {model} on "
            f"{dataset}"
        )
    return record


def check_search(path: Path, record: Any) -> SearchRecord:
    """``record``, if it is what a search writes. Raises UserError."""
    try:
        if not isinstance(record["settings"], dict) or not all(
            isinstance(record[k], str) for k in ("model", "dataset")
        ):
            raise ValueError("settings")
        if budget_of(record) not in list(BUDGETS):
            raise ValueError(f"budget {budget_of(record)!r}")
        min_width, keep = record["settings"].get("min_width", 0), record["settings"].get("keep", [])
        if not (
            is_number(min_width, 0, MOST, whole=True)
            and isinstance(keep, list)
            and all(isinstance(layer, str) for layer in keep)
        ):
            raise ValueError("min_width, keep")
        shape_in(record)
        if not isinstance(record["iterations"], list):
            raise ValueError("iterations")
        layers = layers_in(record["model"], record.get("layers", []))
        if is_imported(record["model"]) and not (layers and are_widths(record["template"], layers)):
            raise ValueError("layers, template")
        for entry in record["iterations"]:
            if not are_widths(entry["filters"], layers) or not isinstance(entry["rounds"], int):
                raise ValueError(f"filters: {record['model']} has {layers} layers")
            check_scaling(entry, layers)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not the record of a search, or damaged ({error}); restore it or remove it"
        ) from None
    return record


def network_of(model: str) -> SearchRecord:
    """What a record says of a network that is read from its graph; nothing of others."""
    layers = layers_of(model)
    return {} if layers is None else {"template": template(model), "layers": layers}


def refuse_changed_network(path: Path, record: SearchRecord, model: str) -> None:
    """Raises UserError where a network has other widths by now than the search of it had."""
    if "layers" not in record:
        return
    # which may be the one size that it takes
    expect(model, record["num_classes"], (pixels_in(shape_in(record)),))
    if {key: record.get(key) for key in ("template", "layers")} != network_of(model):
        raise UserError(
            f"{path}: a search of {model} when it had other widths; they have changed. Search "
            "it again, with another --save"
        )


def check_scaling(entry: Any, layers: int) -> PowerLaw:
    """alpha and beta of one iteration. Raises ValueError where they are not ``layers`` positive,
    finite numbers."""
    if not all(
        isinstance(entry[key], list) and all(is_number(n, -1e308, 1e308) for n in entry[key])
        for key in ("alpha", "beta")
    ):
        raise ValueError("alpha and beta must be lists of numbers")
    if not isinstance(entry.get("fit", FITTED), str):
        raise ValueError("fit")
    law = PowerLaw([float(a) for a in entry["alpha"]], [float(b) for b in entry["beta"]])
    if not len(law.alpha) == len(law.beta) == layers:
        raise ValueError(f"alpha and beta must have {layers} numbers")
    if not law.sane:
        raise ValueError("alpha must be positive, alpha and beta of a sane size")
    return law


def iteration_told(iteration: int, morph: bool = False) -> str:
    """How people are told of an iteration, with the option that asks for it, which counts from 0; a
    --morph search has one alone."""
    return "iteration 1 of 1" if morph else f"iteration {iteration + 1} (--descent-idx {iteration})"


def budget_of(record: SearchRecord) -> str:
    """What the search scaled its networks to, and so what tau is in its laws."""
    budget: str = record.get("settings", {}).get("budget", "params")
    return budget


def floors_of(record: SearchRecord) -> tuple[int, tuple[str, ...]]:
    """The --min-width and --keep that the search had: none in records of earlier versions, which
    don't say."""
    settings = record.get("settings", {})
    return settings.get("min_width", 0), tuple(settings.get("keep", ()))


def law_of(record: SearchRecord, iteration: int = -1) -> PowerLaw:
    """alpha and beta after iteration ``iteration`` (from 0; -1 is the last). Raises UserError if it
    isn't there."""
    iterations = record["iterations"]
    if not -len(iterations) <= iteration < len(iterations):
        have = (
            f"{len(iterations)} iterations, --descent-idx 0 to {len(iterations) - 1}"
            if iterations
            else "no iteration"
        )
        raise UserError(f"--descent-idx {iteration}: this search has {have}")
    entry = iterations[iteration]
    flat = not any(entry["beta"])  # earlier versions do not say
    return PowerLaw(entry["alpha"], entry["beta"], entry.get("fit", FIRST_ROW if flat else FITTED))


def not_fitted(record: SearchRecord, only: Collection[int] | None = None) -> str:
    """The sentence that no power law was fitted in iterations of a search, of all or ``only`` some,
    and what to change.

    Empty where one was in each, and for a --morph search, of which no law is used.
    """
    count = len(record["iterations"])
    found = [
        number
        for number in range(count)
        if only is None or number in only
        if law_of(record, number).fit != FITTED
    ]
    if not found or record.get("settings", {}).get("morph"):
        return ""
    which = (
        iteration_told(found[0])
        if len(found) == 1
        else "any iteration"
        if len(found) == count
        else (f"the iterations {', '.join(str(number + 1) for number in found)}")
    )
    remedy = (
        "" if floors_of(record)[0] else "with --min-width 2, which leaves narrow layers alone, or "
    )
    return (
        f"no power law was fitted in {which}; what is used in its place is the "
        f"{law_of(record, found[0]).fit}. Search again "
        f"{remedy}with a longer --warmup, a larger --ratio or a smaller --prune-step"
    )
