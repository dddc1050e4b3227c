"""The names of methods: in tables and legends, and in the README's default names of runs."""

import re
from typing import NamedTuple

from utils.records.method import PRUNED
from utils.records.paths import file_name_of
from utils.settings import PUBLISHED, dataset_facts

LABELS = {
    "uniform": "uniform",
    "convcut": "uniform, convolution in every shortcut",
    "morphnet": "MorphNet (Taylor-FO)",
    "magnitude": "magnitude pruning, fine-tuned",
    "base": "base network",
    "pruned_taylor": "pruned by Taylor score",
    "pruned_magnitude": "pruned by magnitude",
    "pruned_random": "pruned at random",
}
NAMES = {
    "uniform": "{}_uni_{}",
    "convcut": "{}_convcut_{}",
    "morphnet": "{}_pruned_{}",
    "magnitude": "{}_norm_{}",
    "prune": "{}_prune_{}",
    "neuralscale_1": "{}_10_eff_{}_early",
    "neuralscale_15": "{}_10_eff_{}_late",
    "base": "{}_standard_{}",
}  # the README's names of runs on a model and data set


def default_name(method: str, model: str, dataset: str) -> str:
    """Return the README's name of a method's runs, without the seed.

    Raises KeyError for a method without one.
    """
    name = NAMES.get(method)
    if name is None:  # an iteration of a search between the first and the last
        iteration = re.fullmatch(r"neuralscale_((?:it)?\d+)", method)
        if not iteration:
            raise KeyError(f"{method}: give it a name in NAMES")
        name = f"{{}}_10_eff_{{}}_{iteration[1]}"
    return name.format(file_name_of(model), dataset_facts(dataset).short)


def label_of(method: str, warmup: int | None = None, search: str | None = None) -> str:
    """Return the name of a method in tables and legends.

    ``warmup`` is given in comparisons of warm-ups (with 15 iterations). ``search`` is the search in
    a user's result: a label mentions it unless it is the usual one, which is the user's own for
    NeuralScale and the published one for MorphNet.
    """
    kind, _, variant = method.partition("+")
    if kind.startswith(PRUNED):  # the variant is the method whose widths it has
        to = f" to widths of {label_of(variant, search=search)}" if variant else ""
        return LABELS.get(kind, kind) + to

    label = LABELS.get(kind, kind)
    if match := re.fullmatch(r"neuralscale_(\d+)|warmup_\d+", kind):
        label = "NeuralScale" if warmup is None else f"NeuralScale, P = {warmup}"
        label += (
            f", iteration {match[1]}"
            if match[1] and not (match[1] == "15" and warmup is not None)
            else ""
        )
        label += " (published law)" if search == PUBLISHED else ""
    label += ", own search" if kind == "morphnet" and search not in (None, PUBLISHED) else ""
    return f"{label}, convolution in every shortcut" if variant else label


def kind_of(method: str) -> str:
    """Return a method without its variant: neuralscale for neuralscale_15+convcut."""
    return re.sub(r"_\d+$", "", method.partition("+")[0])


class CurveSpec(NamedTuple):
    """A curve that a script looks for: a method's, published, and among the user's runs under the
    README's default name."""

    method: str
    name: str
    warmup: int | None = None  # epochs, in comparisons of warm-ups
