"""Gathers trainings, the user's and the published ones, into curves of accuracy against the size of
the network."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from model import COLOURS, ImageSize, Shape, count_macs, count_params, pixels_in, shape_for
from utils.errors import UserError
from utils.figures.labels import CurveSpec, default_name, label_of
from utils.records.files import read_json
from utils.records.legacy import read_test_accuracy
from utils.records.method import PRUNED, Method
from utils.records.methods import published_method
from utils.records.paths import SIZES, named_after, shown_name
from utils.records.published import read_accuracy
from utils.records.results import Result, read_result
from utils.records.shapes import recorded, shape_in
from utils.records.sizes import size_of
from utils.settings import (
    AUGMENTATION,
    DATASETS,
    Limit,
    Size,
    dataset_facts,
    dataset_name,
    size_told,
)
from utils.settings.target import size_order

COMMON = ("method", "convcut", "num_classes", "image_size", "channels", "images", "test_images")
NETWORK = ("num_classes", "image_size", "channels")  # fields of a result


@dataclass
class Point:
    """All seeds of one method at one ratio: best test accuracies in %, and the network that was
    trained."""

    filters: tuple[int, ...]
    params: int
    macs: int
    accuracy: list[float] = field(default_factory=list)
    latency: float | None = None  # milliseconds

    @property
    def mean(self) -> float:
        """The mean over the seeds, with two decimals as in the paper."""
        return round(float(np.mean(self.accuracy)), 2)


@dataclass
class Curve:
    """One method; ``points`` by their ratios, or targets."""

    label: str
    method: str
    published: bool
    convcut: bool = False
    budget: str = "params"  # the unit of its networks' budgets
    round_to: int = 1  # all widths are multiples of it
    warmup: int | None = None  # epochs, in comparisons of warm-ups
    # epochs and images of the user's runs, if their results have them
    trained: tuple[object, ...] | None = None
    points: dict[Size, Point] = field(default_factory=dict)


@dataclass
class Subject:
    """The networks of one model on one data set, which are compared."""

    model: str
    dataset: str
    num_classes: int
    image_size: ImageSize
    plot_dir: str
    channels: int = COLOURS

    @property
    def shape(self) -> Shape:
        return shape_for(self.num_classes, self.image_size, self.channels)

    @property
    def title(self) -> str:
        """The title of its pictures."""
        return f"{shown_name(self.model)} on {self.dataset}"

    @property
    def folder(self) -> Path:
        return named_after(self.plot_dir, self.model)

    def known(self, *methods: str) -> list[CurveSpec]:
        """Return specifications of these methods' curves, with the default names of the user's
        runs."""
        return [
            CurveSpec(method, default_name(method, self.model, self.dataset)) for method in methods
        ]

    def point(self, method: Method, size: Size) -> Point:
        """Return the network of a method at a ratio or a target, without accuracies."""
        filters = method.filters(size, **self.shape)
        return Point(
            tuple(filters),
            count_params(self.model, filters, convcut=method.convcut, **self.shape),
            count_macs(self.model, filters, convcut=method.convcut, **self.shape),
        )


def subject_of(model: str, dataset: str, plot_dir: str = "saved_plots") -> Subject:
    """Return the subject ``dataset``, a name or a path.

    A built-in data set is known. Others are described by a result of theirs, or by the folder.
    Raises UserError for an unknown data set without a result.
    """
    name, is_folder = dataset_name(dataset), Path(dataset).is_dir()
    facts = dataset_facts(name)
    subject = Subject(model, name, facts.num_classes or 0, facts.image_size, plot_dir)

    if name in DATASETS and not is_folder:
        return subject

    # from a result, which needs no images to be read
    for path in sorted(subject.folder.glob("[!.]*.json")):
        content = read_json(path)
        if isinstance(content, dict) and content.get("dataset") == name:
            return replace(subject, **shape_in(read_result(path)))
    if not is_folder:
        raise UserError(
            f"--dataset {dataset}: nothing was published for it, and {subject.folder} has no "
            "result of it"
        )
    from utils.data import shape_of  # with torch, which pictures do without

    return replace(subject, **shape_of(dataset))


def published_curve(subject: Subject, known: CurveSpec) -> Curve | None:
    """Return the curve of a method's published trainings.

    Returns None if there are none, or none with as many classes and images as large.
    """
    method, facts = known.method, dataset_facts(subject.dataset)
    rows = [
        row
        for row in read_accuracy()
        if (row["model"], row["dataset"], row["method"]) == (subject.model, subject.dataset, method)
    ]
    # a user's folder may have the name of a data set
    own = {"num_classes": facts.num_classes, "image_size": facts.image_size}
    if not rows or own != subject.shape:
        return None

    curve = Curve(
        f"{label_of(method, known.warmup)}, published",
        method,
        True,
        method == "convcut",
        warmup=known.warmup,
    )

    # the trainings of each ratio
    networks = published_method(subject.model, subject.dataset, method)
    for row in sorted(rows, key=lambda row: row["ratio"]):
        ratio = row["ratio"]
        if ratio not in curve.points:
            curve.points[ratio] = subject.point(networks, ratio)
        curve.points[ratio].accuracy.append(row["best_test_acc"])
    return curve


def run_curve(
    subject: Subject, name: str, *, label: str | None = None, known: CurveSpec | None = None
) -> Curve | None:
    """Return the curve of the user's runs NAME and NAME_0, NAME_1, ... (its seeds) at all ratios
    and targets; None if there are none.

    Without ``label`` the curve is named by its results. ``known`` is the method whose default name
    NAME is. Raises UserError for a file that is damaged or of another model or data set, for seeds
    that differ in more than the seed, and for a seed that is there twice.
    """
    pattern = re.compile(rf"{re.escape(name)}(?:_(\d+))?_(?:{SIZES}\.json|(\d+)\.pk)")
    curve = Curve(label or "", "", False, warmup=known.warmup if known else None)
    said: dict[str, tuple[object, Path]] = {}  # a value, and the first result that has it
    seeds: dict[tuple[Size, int], Path] = {}
    costs: dict[Size, list[tuple[int, int]]] = {}  # parameters and MACs of the seeds
    budgets: set[str] = set()  # the units of its networks' budgets
    search: str | None = None

    for path in sorted(subject.folder.glob("*")):
        if not (match := pattern.fullmatch(path.name)):
            continue
        result = (
            old_result(path, subject, known, int(match[2]) / 100, int(match[1] or 0))
            if match[2]
            else read_result(path)
        )
        refuse_no_seed(path, result, subject, name, said, seeds)

        # one more training of this curve
        size, cost = size_of(result), (result["params"], result["macs"])
        curve.points.setdefault(size, Point(tuple(result["filters"]), *cost))
        curve.points[size].accuracy.append(result["best"])
        costs.setdefault(size, []).append(cost)
        curve.method, curve.convcut = result["method"], result["convcut"]
        curve.round_to = result.get("round_to", 1)
        budgets.add(result.get("budget", "params"))
        curve.trained = result["settings"].get("epochs"), result.get("images")
        origin = result.get("origin")
        search = origin.get("search") if isinstance(origin, dict) else search

    # seeds of a pruning keep different filters
    for size, point in curve.points.items():
        point.params, point.macs = (round(fmean(numbers)) for numbers in zip(*costs[size]))

    # by ratio; targets, which may be in both units, by the sizes of the networks
    targets = any(isinstance(size, Limit) for size in curve.points)
    curve.points = dict(
        sorted(
            curve.points.items(),
            key=lambda at: (at[1].params, at[1].macs) if targets else size_order(at[0]),
        )
    )
    curve.budget = budgets.pop() if len(budgets) == 1 else "params"
    curve.label = label or label_of(curve.method, curve.warmup, search)
    if curve.budget == "macs" and not curve.method.startswith(PRUNED):
        curve.label += ", scaled to MACs"
    curve.label += f", widths multiples of {curve.round_to}" if curve.round_to != 1 else ""
    return curve if curve.points else None


def refuse_no_seed(
    path: Path,
    result: Result,
    subject: Subject,
    name: str,
    said: dict[str, tuple[object, Path]],
    seeds: dict[tuple[Size, int], Path],
) -> None:
    """Raise UserError for a result that is no seed of the curve ``name``.

    ``said`` has the values that all of its results have in common, and ``seeds`` its seeds at each
    ratio, both with the first path that has them; the result's are added.
    """
    if (result["model"], result["dataset"]) != (subject.model, subject.dataset):
        raise UserError(
            f"{path}: of {result['model']} on {result['dataset']}, not {subject.model} on "
            f"{subject.dataset}"
        )
    for key, value in common(result).items():
        first, where = said.setdefault(key, (value, path))
        if first != value:
            raise UserError(
                f"{path}: has other {key} than {where} ({value}, not {first}); the runs of one "
                f"curve, {name} and {name}_X, differ in nothing but the seed; move one of them away"
            )

    if (other := seeds.setdefault((size_of(result), result["seed"]), path)) != path:
        raise UserError(
            f"{path}: has the seed {result['seed']}, as {other} has; a seed counts once; "
            "move one of them away"
        )
    if (shape := shape_in(result)) != subject.shape:
        raise UserError(
            f"{path}: of {shape['num_classes']} classes of {pixels_in(shape)} pixels; "
            f"{subject.dataset} has {subject.num_classes} of {pixels_in(subject.shape)}. Two data "
            "sets of one name, or another --image-size: rename a folder, or move one result away"
        )


def common(result: Result) -> dict[str, object]:
    """Return what the runs of one curve have in common: everything that a result depends on but the
    seed, and the filters at each size.

    Targets may be in parameters and in MACs, since a law gives one family of networks. Of a trained
    network that was pruned each seed has filters of its own.
    """
    said = {
        **dict.fromkeys(AUGMENTATION),
        **result["settings"],
        "round_to": result.get("round_to", 1),
    }
    if not result["method"].startswith(PRUNED):
        said[f"filters at {size_told(size_of(result))}"] = list(result["filters"])
    if "target" not in result:
        said["budget"] = result.get("budget", "params")
    said |= {key: value for key, value in result.items() if key in COMMON}
    return {key: said[key] for key in said if key != "seed"}


def old_result(
    path: Path, subject: Subject, known: CurveSpec | None, ratio: float, seed: int
) -> Result:
    """Return a result from a ``.pk`` of the original release.

    The file has accuracies alone; its default name describes the network. Raises UserError without
    one.
    """
    if known is None:
        raise UserError(
            f"{path}: does not say what network it is of; name it as the README's default names do"
        )
    networks = published_method(subject.model, subject.dataset, known.method)
    point = subject.point(networks, ratio)
    return {
        "model": subject.model,
        "dataset": subject.dataset,
        "convcut": networks.convcut,
        "ratio": ratio,
        "seed": seed,
        **recorded(subject.shape),  # type: ignore[typeddict-item]  # it has no other keys
        "method": known.method if known.warmup is None else "neuralscale_15",
        "settings": {},
        "filters": list(point.filters),
        "params": point.params,
        "macs": point.macs,
        "best": max(read_test_accuracy(path)),
    }
