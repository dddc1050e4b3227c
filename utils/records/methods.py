"""The methods that are compared, as they are found by name: in records, options and results."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from model import (
    COLOURS,
    ImageSize,
    Pixels,
    expect,
    pixels_of,
    template,
    widths_of,
)
from model.errors import UnknownLayer
from utils.errors import UserError
from utils.powerlaw import PowerLaw
from utils.records.files import read_rows
from utils.records.legacy import read_release_search
from utils.records.method import Method
from utils.records.paths import release_record, search_record, search_rows
from utils.records.published import read_published_morph, read_published_scaling
from utils.records.results import Origin
from utils.records.searches import (
    SearchRecord,
    budget_of,
    floors_of,
    iteration_told,
    law_of,
    not_fitted,
    read_search,
    refuse_changed_network,
)
from utils.records.shapes import shape_in
from utils.settings import (
    DATASETS,
    FOLDER_SIZES,
    PUBLISHED,
    Limit,
    Networks,
    Size,
    dataset_facts,
    dataset_name,
)


def read_scalings(record_dir: str, name: str, model: str, dataset: str) -> SearchRecord:
    """Return the record of the search ``name``, or what the original release or the paper has of
    it.

    Raises UserError.
    """
    facts, released = dataset_facts(dataset), release_record(record_dir, name)
    if name == PUBLISHED:
        iterations = read_published_scaling(model, dataset)["iterations"]
    elif search_record(record_dir, name).exists() or not released.exists():
        return read_search(record_dir, name, model, dataset)
    elif facts.num_classes is None:
        raise UserError(
            f"{released}: does not say its classes and image size, and {dataset} is none of "
            f"{', '.join(DATASETS)}"
        )
    else:
        iterations = read_release_search(released, layers := len(template(model)))
        print(
            f"{released}: the original release's record does not say its model and data set; all "
            f"that is known is that it has {layers} layers, like {model}",
            file=sys.stderr,
        )

    return {
        "num_classes": facts.num_classes or 0,
        "image_size": facts.image_size,
        "iterations": iterations,
    }


def methods_of(
    record_dir: str,
    name: str,
    record: SearchRecord,
    model: str,
    convcut: bool = False,
    budget: str | None = None,
    round_to: int = 1,
    min_width: int | None = None,
    keep: tuple[str, ...] | None = None,
) -> list[Method]:
    """Return the method of each iteration of a search: its power law or, for a --morph search, its
    last row.

    Without ``budget``, ``min_width`` and ``keep``, networks have those of the search. All widths
    are multiples of ``round_to``. Raises UserError.
    """
    suffix, found, budget = "+convcut" if convcut else "", [], budget or budget_of(record)

    held_out, (searched_width, searched_keep) = (
        record.get("settings", {}).get("validate"),
        floors_of(record),
    )
    min_width, keep = (
        searched_width if min_width is None else min_width,
        searched_keep if keep is None else keep,
    )
    shape = shape_in(record) if is_own_search(record) else None

    if not record["iterations"]:
        raise UserError(
            f"{search_record(record_dir, name)}: has no finished iteration; go on with the "
            "search, or restore it"
        )
    refuse_changed_network(search_record(record_dir, name), record, model)

    for law, widths, source in networks_of(record_dir, name, record):
        found.append(
            Method(
                ("morphnet" if law is None else f"neuralscale_{source['iteration'] + 1}") + suffix,
                model,
                law,
                widths,
                convcut,
                source,
                budget,
                round_to,
                min_width,
                keep,
                held_out,
                shape and shape["image_size"],
                shape and shape.get("channels", COLOURS),
            )
        )
    return found


def is_own_search(record: SearchRecord) -> bool:
    """Return True if a record has the model and data set of its search; those of published searches
    and of the original release do not."""
    return "model" in record


def networks_of(
    record_dir: str, name: str, record: SearchRecord
) -> Iterator[tuple[PowerLaw | None, list[int] | None, Origin]]:
    """Yield for each iteration of a search its law, or MorphNet's widths, and its origin in
    results.

    Raises UserError.
    """
    for iteration, entry in enumerate(record["iterations"]):
        if record.get("settings", {}).get("morph"):
            widths = read_rows(
                search_rows(record_dir, name, iteration), len(entry["filters"]), entry["rounds"]
            )[-1]
            yield None, widths, origin(name, iteration, widths)
        else:
            law = law_of(record, iteration)
            yield law, None, origin(name, iteration, [law.alpha, law.beta])


def origin(name: str, iteration: int, numbers: list[int] | list[list[float]]) -> Origin:
    """Return the origin of a network, with a fingerprint of the numbers that determine its
    widths."""
    return {
        "search": name,
        "iteration": iteration,
        "fingerprint": hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16],
    }


def published_method(model: str, dataset: str, name: str) -> Method:
    """Return a method by its name in the published accuracies. Raises UserError for an unknown
    one."""
    if match := re.fullmatch(r"neuralscale_(\d+)|warmup_(\d+)", name):
        iterations = read_published_scaling(model, dataset, int(match[2]) if match[2] else None)[
            "iterations"
        ]
        return Method(
            name, model, law_of({"iterations": iterations}, int(match[1]) - 1 if match[1] else -1)
        )
    if name not in ("uniform", "convcut", "magnitude", "morphnet"):
        raise UserError(f"method {name} is unknown; its networks can't be told from its name")
    return Method(
        name,
        model,
        widths=read_published_morph(model, dataset) if name == "morphnet" else None,
        convcut=name == "convcut",
    )


def refuse_impossible(
    model: str,
    dataset: str,
    *sizes: Size,
    image_size: ImageSize | None = None,
    channels: int | None = None,
    keep: Sequence[str] = (),
) -> None:
    """Raise an error for networks that can't be, before any data is read.

    UserError is for a ratio that leaves a layer of the template without filters, and for a name in
    ``keep`` that no layer has; UnreadableNetwork is for a network that can't be read from its
    graph, or takes no such images.
    """
    facts = dataset_facts(dataset_name(dataset))
    expected = images_expected(dataset, image_size, channels or COLOURS)
    expect(model, facts.num_classes, expected)
    try:
        widths_of(model, keep)
    except UnknownLayer as error:
        raise UserError(f"--keep: {error}") from None

    narrowest = min(template(model))
    for ratio in sizes:
        if not isinstance(ratio, Limit) and int(narrowest * ratio) < 1:
            raise UserError(
                f"ratio {ratio:g}: {model}'s narrowest layer has {narrowest} filters, and would "
                "have none left"
            )


def images_expected(
    dataset: str, image_size: ImageSize | None, channels: int
) -> list[int | Pixels]:
    """Return the sizes, as by ``pixels_of``, that a data set's images may have; ``image_size`` if
    given."""
    facts = dataset_facts(dataset_name(dataset))
    sizes = (facts.image_size,) if facts.num_classes else FOLDER_SIZES
    return [pixels_of(size, channels) for size in ((image_size,) if image_size else sizes)]


def method_of(networks: Networks, model: str, dataset: str, record_dir: str) -> Method:
    """Return the method that a sweep's options ask for. Raises UserError."""
    name, suffix = networks.prune_fname, "+convcut" if networks.convcut else ""
    budget = networks.budget or ("macs" if networks.target and networks.uniform else "params")
    own = Method(
        "convcut" if networks.convcut else "uniform",
        model,
        convcut=networks.convcut,
        budget=budget,
        round_to=networks.round_to,
        min_width=networks.min_width or 0,
        keep=networks.keep or (),
    )

    if networks.uniform:
        return own
    if networks.morph and name is None:
        widths = read_published_morph(model, dataset)
        return replace(
            own, name="morphnet" + suffix, widths=widths, origin=origin(PUBLISHED, 0, widths)
        )

    # a search of the user's, or the published one
    if not name:
        raise UserError(
            "say which networks to train: --prune-fname NAME (of a search, or 'published'), "
            "--uniform or --morph"
        )
    record = searched(name, networks.morph, model, dataset, record_dir)

    # its last iteration, or the one that was asked for
    index = -1 if networks.descent_idx is None else networks.descent_idx
    law_of(record, index)  # refuses an iteration that isn't there
    methods = methods_of(
        record_dir,
        name,
        record,
        model,
        networks.convcut,
        networks.budget,
        networks.round_to,
        networks.min_width,
        networks.keep,
    )

    iteration = range(len(methods))[index]
    print(
        f"{name}: {iteration_told(iteration, networks.morph)}"
        f"{'' if networks.morph else f' of {len(methods)}'}; drawn as {methods[index].name}"
    )
    if reason := not_fitted(record, [iteration]):
        print(f"{name}: {reason}")
    return methods[index]


def searched(name: str, morph: bool, model: str, dataset: str, record_dir: str) -> SearchRecord:
    """Return the record of the search ``name``, which must be a --morph search if ``morph``, and no
    such search if not. Raises UserError."""
    read = read_search if morph else read_scalings  # only a search's own record has rows
    record = read(record_dir, name, model, dataset)
    is_morph = bool(record.get("settings", {}).get("morph"))
    if morph and not (is_morph and record["iterations"]):
        raise UserError(
            f"{search_record(record_dir, name)}: not a finished --morph search; without --morph "
            "it gives NeuralScale"
        )
    if is_morph and not morph:
        raise UserError(f"{name} is a --morph search; give --morph too")
    return record
