"""The results of the published runs, which come with the project."""

import csv
from typing import Any

from model import MODELS, template
from utils.errors import UserError
from utils.records.files import MOST, are_widths, is_number, read_json, read_text
from utils.records.paths import PUBLISHED_DIR
from utils.records.searches import check_scaling

TRAININGS = 1260


def read_published_scaling(model: str, dataset: str, warmup: int | None = None) -> dict[str, Any]:
    """Return the published alpha and beta of this model and dataset: {"warmup": P, "iterations":
    [{"alpha", "beta"}, ...]}.

    Without ``warmup``, those of the setting that the paper's curves use. Raises UserError if
    nothing was published.
    """
    path = PUBLISHED_DIR / "scaling.json"
    table = read_json(path, "it comes with the project; restore it")
    try:
        if not (isinstance(table, list) and table):
            raise ValueError("not a list of searches")

        for entry in table:
            if (entry["model"], entry["dataset"]) == (model, dataset) and warmup in (
                None,
                entry["warmup"],
            ):
                if not entry["iterations"]:
                    raise ValueError("no iterations")
                for iteration in entry["iterations"]:
                    check_scaling(iteration, len(template(model)))
                return entry

        pairs = sorted({f"{entry['model']} on {entry['dataset']}" for entry in table})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
    raise UserError(f"nothing was published for {model} on {dataset}; there is {', '.join(pairs)}")


def published_warmup(model: str, dataset: str) -> int | None:
    """Return the warm-up of the published curves of this model and data set; None if there are
    none."""
    try:
        return read_published_scaling(model, dataset)["warmup"]
    except UserError:
        return None


def read_published_morph(model: str, dataset: str) -> list[int]:
    """Return the published widths of the MorphNet baseline. Raises UserError if there are none."""
    path = PUBLISHED_DIR / "morphnet.json"
    table = read_json(path, "it comes with the project; restore it")
    try:
        if dataset in (table[model] if model in MODELS else {}):
            widths: list[int] = table[model][dataset]
            if not are_widths(widths, len(template(model))):
                raise ValueError(f"{model} on {dataset}")
            return widths
        pairs = [f"{m} on {d}" for m in table for d in table[m]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
    raise UserError(
        f"no MorphNet widths were published for {model} on {dataset} (there is "
        f"{', '.join(pairs)}); search them with "
        "architecture_descent.py --morph and give its name with --prune-fname"
    )


def read_accuracy() -> list[dict[str, Any]]:
    """Return the published trainings: model, dataset, method, ratio, seed, epochs, best_test_acc,
    last_test_acc."""
    path = PUBLISHED_DIR / "accuracy.csv"
    try:
        rows, text = [], read_text(path, "it comes with the project; restore it")
        if not text.endswith("\n"):
            raise ValueError("its last line is torn")

        # numbers instead of texts, each within its range
        for row in csv.DictReader(text.splitlines(), strict=True):
            numbers = {key: float(row[key]) for key in ("ratio", "best_test_acc", "last_test_acc")}
            if None in row or not (
                0 < numbers["ratio"] <= 64
                and 0 <= numbers["best_test_acc"] <= 100
                and 0 <= numbers["last_test_acc"] <= 100
            ):
                raise ValueError("a ratio or an accuracy is out of range")
            counts = {key: int(row[key]) for key in ("seed", "epochs")}
            if not all(is_number(count, 0, MOST, whole=True) for count in counts.values()):
                raise ValueError("a seed or a number of epochs is out of range")
            rows.append({**row, **numbers, **counts})

        if len(rows) != TRAININGS:
            raise ValueError(f"{len(rows)} of {TRAININGS} trainings")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
    return rows
