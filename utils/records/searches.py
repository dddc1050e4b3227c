"""The records of searches: their contents, and reading them without trust."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

from model import BUDGETS, expect, is_imported, layers_of, pixels_in, template
from utils.errors import UserError
from utils.powerlaw import FIRST_ROW, FITTED, PowerLaw
from utils.records.files import MOST, are_widths, is_number, layers_in, read_json
from utils.records.paths import release_record, search_record
from utils.records.shapes import shape_in

# the rules of this version's searches; searches without a number began to prune an epoch later
RULES = 2


class IterationRecord(TypedDict, total=False):
    """One iteration of a search. The rows of widths that it recorded are in a file of their own."""

    alpha: list[float]
    beta: list[float]
    fit: str  # how alpha and beta were found; earlier versions did not store it
    filters: list[int]  # the widths that were searched
    rounds: int  # recorded rows
    seconds: float


class SearchRecord(TypedDict, total=False):
    """The results of a search.

    That of a published one has only the iterations, num_classes and image_size.
    """

    model: str
    dataset: str
    num_classes: int
    image_size: int | list[int]  # a side, or height and width
    channels: int  # where they are not 3
    settings: dict[str, Any]
    rules: int
    template: list[int]  # of a user's network: its widths when it was searched,
    layers: list[list[str]]  # and the layers that have each
    versions: dict[str, str]
    threads: int
    commit: str | None
    iterations: list[IterationRecord]


def read_search(record_dir: str, save: str, model: str, dataset: str | None) -> SearchRecord:
    """Return the record of a search of this model (and dataset, if given), with all numbers
    checked.

    Raises UserError.
    """
    path = search_record(record_dir, save)
    released = release_record(record_dir, save)
    record = read_json(
        path,
        f"is {save!r} the --save name of a search? Its record begins when its first descent "
        "iteration ends"
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
    """Return ``record`` if it is the record of a search. Raises UserError."""
    try:
        if not isinstance(record["settings"], dict) or not all(
            isinstance(record[k], str) for k in ("model", "dataset")
        ):
            raise ValueError("settings")

        # its settings
        if budget_of(record) not in list(BUDGETS):
            raise ValueError(f"budget {budget_of(record)!r}")
        min_width, keep = record["settings"].get("min_width", 0), record["settings"].get("keep", [])
        if not (
            is_number(min_width, 0, MOST, whole=True)
            and isinstance(keep, list)
            and all(isinstance(layer, str) for layer in keep)
        ):
            raise ValueError("min_width, keep")

        # its network and its images
        shape_in(record)
        if not isinstance(record["iterations"], list):
            raise ValueError("iterations")
        layers = layers_in(record["model"], record.get("layers", []))
        if is_imported(record["model"]) and not (layers and are_widths(record["template"], layers)):
            raise ValueError("layers, template")

        # its iterations
        for entry in record["iterations"]:
            if not are_widths(entry["filters"], layers) or not isinstance(entry["rounds"], int):
                raise ValueError(f"filters: {record['model']} has {layers} layers")
            check_scaling(entry, layers)

    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not the record of a search, or damaged ({error}); restore it or remove it"
        ) from None
    return record


def network_entries(model: str) -> SearchRecord:
    """Return the entries of a record that describe a user's network; none for other networks."""
    layers = layers_of(model)
    return {} if layers is None else {"template": template(model), "layers": layers}


def refuse_changed_network(path: Path, record: SearchRecord, model: str) -> None:
    """Raise UserError if a network has other widths now than when it was searched."""
    if "layers" not in record:
        return
    # a network may take images of this size only
    expect(model, record["num_classes"], (pixels_in(shape_in(record)),))
    if {key: record.get(key) for key in ("template", "layers")} != network_entries(model):
        raise UserError(
            f"{path}: a search of {model} when it had other widths; they have changed. Search "
            "it again, with another --save"
        )


def check_scaling(entry: Any, layers: int) -> PowerLaw:
    """Return alpha and beta of one iteration. Raises ValueError unless they are ``layers``
    positive, finite numbers."""
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
    """Return the name of an iteration in messages, with the option for it, which counts from 0.

    A --morph search has only one.
    """
    return "iteration 1 of 1" if morph else f"iteration {iteration + 1} (--descent-idx {iteration})"


def budget_of(record: SearchRecord) -> str:
    """Return the unit of the search's budget, which is also that of tau in its laws."""
    budget: str = record.get("settings", {}).get("budget", "params")
    return budget


def floors_of(record: SearchRecord) -> tuple[int, tuple[str, ...]]:
    """Return the --min-width and --keep of a search; records of earlier versions had none."""
    settings = record.get("settings", {})
    return settings.get("min_width", 0), tuple(settings.get("keep", ()))


def law_of(record: SearchRecord, iteration: int = -1) -> PowerLaw:
    """Return alpha and beta after ``iteration`` (from 0; -1 is the last). Raises UserError if there
    is no such iteration."""
    iterations = record["iterations"]
    if not -len(iterations) <= iteration < len(iterations):
        have = (
            f"{len(iterations)} iterations, --descent-idx 0 to {len(iterations) - 1}"
            if iterations
            else "no iteration"
        )
        raise UserError(f"--descent-idx {iteration}: this search has {have}")
    entry = iterations[iteration]
    flat = not any(entry["beta"])  # earlier versions did not store how the law was found
    return PowerLaw(entry["alpha"], entry["beta"], entry.get("fit", FIRST_ROW if flat else FITTED))


def not_fitted(record: SearchRecord, only: Collection[int] | None = None) -> str:
    """Return a sentence on the iterations, all or ``only`` some, in which no power law was fitted.

    It also says what to change. It is empty if there are none, and for a --morph search, which uses
    no law.
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
