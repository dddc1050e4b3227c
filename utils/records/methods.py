"""The methods that are compared: each a way from a ratio to the widths of a network."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from model import (
    BUDGETS,
    COLOURS,
    ImageSize,
    Pixels,
    Shape,
    expect,
    pixels_of,
    prepare_filters,
    template,
    uniform_filters,
    widths_of,
)
from model.errors import OverBudget, UnknownLayer
from utils.errors import UserError
from utils.powerlaw import PowerLaw
from utils.records.files import read_rows
from utils.records.legacy import read_release_search
from utils.records.paths import release_record, search_record, search_rows
from utils.records.published import read_published_morph, read_published_scaling
from utils.records.results import Origin, Result
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
from utils.records.sizes import size_of
from utils.settings import (
    DATASETS,
    FOLDER_SIZES,
    PUBLISHED,
    Limit,
    Networks,
    Size,
    dataset_facts,
    dataset_name,
    size_told,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class Method:
    """``name`` as results say it. A law, or MorphNet's widths to scale; with neither, the template
    is scaled."""

    name: str
    model: str
    law: PowerLaw | None = None
    widths: list[int] | None = None
    convcut: bool = False
    origin: Origin | None = None
    budget: str = "params"  # what its networks are scaled to
    round_to: int = 1  # what its widths are multiples of
    min_width: int = 0  # the fewest filters of a layer
    keep: tuple[str, ...] = ()  # layers that have the template's widths
    held_out: int | None = None  # how many images its search held out
    # of the images of its search; None where there was none, or none that says it
    image_size: ImageSize | None = None
    channels: int | None = None

    def filters(self, size: Size, **shape: Unpack[Shape]) -> list[int]:
        """The widths within the budget of a ratio, or within a target. Raises UserError where none
        are that are as they should be."""
        within: dict[str, Any] = (
            {"amount": self.amount(size, **shape), "convcut": self.convcut}
            if isinstance(size, Limit)
            else {"ratio": size}
        )
        try:
            return prepare_filters(
                self.model,
                **within,
                scaling=self.law,
                pruned_filters=self.widths,
                **shape,
                budget=self.budget,
                round_to=self.round_to,
                min_width=self.min_width,
                keep=self.keep,
            )
        except (OverBudget, UnknownLayer) as error:
            raise impossible(error, size, self.round_to, self.min_width, self.keep) from None

    def unrounded(self) -> Method:
        """The same with widths of any whole number."""
        return replace(self, round_to=1)

    def amount(self, size: Size, **shape: Unpack[Shape]) -> int:
        """The budget: what the uniform network of a ratio costs; of a target, what that is."""
        if isinstance(size, Limit):
            return max(1, size.target.amount(self.whole(**shape)))
        amount: int = BUDGETS[self.budget](self.model, uniform_filters(self.model, size), **shape)
        return amount

    def whole(self, **shape: Unpack[Shape]) -> int:
        """What the template costs, of which a target in percent is a part."""
        cost: int = BUDGETS[self.budget](
            self.model, template(self.model), convcut=self.convcut, **shape
        )
        return cost

    def ratio(self, size: Size, **shape: Unpack[Shape]) -> float:
        """The scaling ratio that a size is; of a target about that, as costs grow with the square
        of the widths."""
        if not isinstance(size, Limit):
            return size
        return round(float((self.amount(size, **shape) / self.whole(**shape)) ** 0.5), 6)

    def other_size(self, image_size: ImageSize) -> str:
        """A line for people where images of ``image_size`` pixels are not of the size of its
        search's; else nothing."""
        if self.image_size in (None, image_size) or not self.origin:
            return ""
        return (
            f"images of {image_size} pixels, while those of the search {self.origin['search']} "
            f"were of {self.image_size}: its networks "
            f"are scaled to the budget at {image_size}"
        )

    def told(self, network: Result) -> str:
        """What one of its networks costs, and how much of the budget that is, for people."""
        amount = self.amount(size_of(network), **shape_in(network))
        used, budget = (
            (network["macs"], f"{amount / 1e6:.1f} MMACs")
            if self.budget == "macs"
            else (network["params"], f"{amount:,}")
        )
        return (
            f"{network['params']:,} parameters, {network['macs'] / 1e6:.1f} MMACs; "
            f"{used / amount:.2%} of the budget "
            f"{budget}{' parameters' * (self.budget == 'params')}"
        )


def impossible(
    error: ValueError, size: Size, round_to: int, min_width: int, keep: Sequence[str]
) -> UserError:
    """What a user can do about widths that can't be."""
    if isinstance(error, UnknownLayer):
        return UserError(f"--keep: {error}")
    given = [f"--round-to {round_to}"] * (round_to != 1) + [f"--min-width {min_width}"] * (
        min_width > 0
    )
    given += [f"--keep {' '.join(keep)}"] * bool(keep)
    others = [
        "a larger target" if isinstance(size, Limit) else "a larger ratio",
        *["a smaller --round-to"] * (round_to != 1),
        *["a smaller --min-width"] * (min_width > 0),
        *["less to --keep"] * bool(keep),
    ]
    return UserError(
        f"{', '.join([*given, size_told(size)])}: {error}; use "
        f"{' or '.join(filter(None, [', '.join(others[:-1]), others[-1]]))}"
    )


def read_scalings(record_dir: str, name: str, model: str, dataset: str) -> SearchRecord:
    """The record of the search ``name``, the original release's where there is no other, or of what
    was published.

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
            f"{released}: the original release's record does not say its model and data set; "
            "all that is known is that it has "
            f"{layers} layers, like {model}",
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
    """What each iteration of a search gives: its power law; of a --morph search, its last row.
    Raises UserError.

    Without a ``budget`` its networks are scaled to what the search scaled them to; without
    ``min_width`` and ``keep`` they have those of the search. ``round_to``: what widths are
    multiples of.
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
    shape = shape_in(record) if is_own(record) else None
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


def is_own(record: SearchRecord) -> bool:
    """Whether a record says of itself what it was searched on; what was published, and the original
    release's, do not."""
    return "model" in record


def networks_of(
    record_dir: str, name: str, record: SearchRecord
) -> Iterator[tuple[PowerLaw | None, list[int] | None, Origin]]:
    """What each iteration of a search found, a law or MorphNet's widths, and what results call it.
    Raises UserError."""
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
    """Where a network came from, with a fingerprint of the numbers that its widths follow from."""
    return {
        "search": name,
        "iteration": iteration,
        "fingerprint": hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16],
    }


def published_method(model: str, dataset: str, name: str) -> Method:
    """A method by the name that the published accuracies have for it. Raises UserError for one
    without a rule."""
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
    """What can be known before any data is read. Raises UserError for a ratio that leaves a layer
    of the template without a filter, for a name to ``keep`` that no layer has, and
    UnreadableNetwork for a network that can't be read from its graph, or takes no such images."""
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
    """Of what sizes (``pixels_of``) the images of a data set may be: of ``image_size``, where it is
    given."""
    facts = dataset_facts(dataset_name(dataset))
    sizes = (facts.image_size,) if facts.num_classes else FOLDER_SIZES
    return [pixels_of(size, channels) for size in ((image_size,) if image_size else sizes)]


def method_of(networks: Networks, model: str, dataset: str, record_dir: str) -> Method:
    """The method that a sweep's options ask for. Raises UserError."""
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
    if not name:
        raise UserError(
            "say which networks to train: --prune-fname NAME (of a search, or 'published'), "
            "--uniform or --morph"
        )
    read = read_search if networks.morph else read_scalings  # only a search's own record has rows
    record = read(record_dir, name, model, dataset)
    morph = bool(record.get("settings", {}).get("morph"))
    if networks.morph and not (morph and record["iterations"]):
        raise UserError(
            f"{search_record(record_dir, name)}: not a finished --morph search; without --morph "
            "it gives NeuralScale"
        )
    if morph and not networks.morph:
        raise UserError(f"{name} is a --morph search; give --morph too")
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
        f"{name}: {iteration_told(iteration, morph)}{'' if morph else f' of {len(methods)}'}; "
        f"drawn as {methods[index].name}"
    )
    if told := not_fitted(record, [iteration]):
        print(f"{name}: {told}")
    return methods[index]
