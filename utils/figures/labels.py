"""What methods are called: in tables and legends, and in the README's default names of runs."""

import re
from typing import NamedTuple

from utils.records.paths import file_name_of
from utils.settings import PUBLISHED, dataset_facts

LABELS = {
    "uniform": "uniform",
    "convcut": "uniform, convolution in every shortcut",
    "morphnet": "MorphNet (Taylor-FO)",
    "magnitude": "magnitude pruning, fine-tuned",
    "base": "base network",
}
NAMES = {
    "uniform": "{}_uni_{}",
    "convcut": "{}_convcut_{}",
    "morphnet": "{}_pruned_{}",
    "magnitude": "{}_norm_{}",
    "neuralscale_1": "{}_10_eff_{}_early",
    "neuralscale_15": "{}_10_eff_{}_late",
    "base": "{}_standard_{}",
}  # the README's, of runs on a model and data set


def default_name(method: str, model: str, dataset: str) -> str:
    """The README's name of the runs of a method, without the seed."""
    if method not in NAMES:  # another iteration of a search than the first and the last
        short, iteration = dataset_facts(dataset).short, method.removeprefix("neuralscale_")
        return f"{file_name_of(model)}_10_eff_{short}_{iteration}"
    return NAMES[method].format(file_name_of(model), dataset_facts(dataset).short)


def label_of(method: str, warmup: int | None = None, search: str | None = None) -> str:
    """What a method is called in tables and legends.

    ``warmup`` is given where its length is what is compared (of 15 iterations). ``search`` is that
    of a training of the user's, where its result says it: a label mentions it where it is not the
    usual one, which is the user's own for NeuralScale and the published one for MorphNet.
    """
    kind, _, convcut = method.partition("+")
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
    return f"{label}, convolution in every shortcut" if convcut else label


def kind_of(method: str) -> str:
    """A method without what it is told apart by: neuralscale for neuralscale_15+convcut."""
    return re.sub(r"_\d+$", "", method.partition("+")[0])


class Known(NamedTuple):
    """A method that a script looks for: published, and among the user's runs under the README's
    default name."""

    method: str
    name: str
    warmup: int | None = None  # epochs, where the length of the warm-up is what is compared
