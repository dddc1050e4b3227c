"""Gathers trainings, the user's and the published ones, into curves: accuracy against the size of the network."""
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model import Shape, build_model, count_macs, count_params
from utils.errors import UserError
from utils.records.files import read_json
from utils.records.legacy import read_test_accuracy
from utils.records.methods import Method, published_method
from utils.records.paths import file_name_of, named_after
from utils.records.published import read_accuracy
from utils.records.results import Result, read_result
from utils.records.run import provenance
from utils.settings import AUGMENTATION, DATASETS, dataset_facts, dataset_name

LABELS = {"uniform": "uniform", "convcut": "uniform, convolution in every shortcut", "morphnet": "MorphNet (Taylor-FO)",
          "magnitude": "magnitude pruning, fine-tuned", "base": "base network"}

NAMES = {"uniform": "{}_uni_{}", "convcut": "{}_convcut_{}", "morphnet": "{}_pruned_{}", "magnitude": "{}_norm_{}",
         "neuralscale_1": "{}_10_eff_{}_early", "neuralscale_15": "{}_10_eff_{}_late",
         "base": "{}_standard_{}"}  # the README's, of runs on a model and data set


def default_name(method: str, model: str, dataset: str) -> str:
    """The README's name of the runs of a method, without the seed."""
    if method not in NAMES:  # another iteration of a search than the first and the last
        return f"{file_name_of(model)}_10_eff_{dataset_facts(dataset).short}_{method.removeprefix('neuralscale_')}"
    return NAMES[method].format(file_name_of(model), dataset_facts(dataset).short)


def label_of(method: str, warmup: int | None = None) -> str:
    """What a method is called in tables and legends; ``warmup`` where its length is what is compared (of 15 iterations)."""
    kind, _, convcut = method.partition("+")
    label = LABELS.get(kind, kind)
    if match := re.fullmatch(r"neuralscale_(\d+)|warmup_\d+", kind):
        label = "NeuralScale" if warmup is None else f"NeuralScale, P = {warmup}"
        label += f", iteration {match[1]}" if match[1] and not (match[1] == "15" and warmup is not None) else ""
    return f"{label}, convolution in every shortcut" if convcut else label


class Known(NamedTuple):
    """A method that a script looks for: published, and among the user's runs under the README's default name."""

    method: str
    name: str
    warmup: int | None = None  # epochs, where the length of the warm-up is what is compared


@dataclass
class Point:
    """All seeds of one method at one ratio: best test accuracies in %, and the network that was trained."""

    filters: tuple[int, ...]
    params: int
    macs: int
    accuracy: list[float] = field(default_factory=list)
    latency: float | None = None  # milliseconds

    @property
    def mean(self) -> float:
        """The mean over the seeds, of two decimals as the paper prints it."""
        return round(float(np.mean(self.accuracy)), 2)


@dataclass
class Curve:
    """One method; ``points`` by ratio."""

    label: str
    method: str
    published: bool
    convcut: bool = False
    budget: str = "params"  # what its networks were scaled to
    round_to: int = 1  # what its widths are multiples of
    points: dict[float, Point] = field(default_factory=dict)


@dataclass
class Subject:
    """What is compared: the networks of one model on one data set."""

    model: str
    dataset: str
    num_classes: int
    image_size: int
    plot_dir: str

    @property
    def shape(self) -> Shape:
        return {"num_classes": self.num_classes, "image_size": self.image_size}

    @property
    def folder(self) -> Path:
        return named_after(self.plot_dir, self.model)

    def known(self, *methods: str) -> list[Known]:
        """Methods, with the default names of the user's runs."""
        return [Known(method, default_name(method, self.model, self.dataset)) for method in methods]

    def point(self, method: Method, ratio: float) -> Point:
        """The network of a method at a ratio, without accuracies."""
        filters = method.filters(ratio, **self.shape)
        return Point(tuple(filters), count_params(self.model, filters, convcut=method.convcut, **self.shape),
                     count_macs(self.model, filters, convcut=method.convcut, **self.shape))


def subject_of(model: str, dataset: str, plot_dir: str = "saved_plots") -> Subject:
    """The subject ``dataset``, a name or a path: a built-in one as it is known, others and folders as a result of theirs says, or
    as the folder is. Raises UserError for an unknown data set without a result."""
    name, is_folder = dataset_name(dataset), Path(dataset).is_dir()
    facts = dataset_facts(name)
    subject = Subject(model, name, facts.num_classes or 0, facts.image_size, plot_dir)
    if name in DATASETS and not is_folder:
        return subject
    for path in sorted(subject.folder.glob("[!.]*.json")):
        content = read_json(path)
        if isinstance(content, dict) and content.get("dataset") == name:
            result = read_result(path)
            return replace(subject, num_classes=result["num_classes"], image_size=result["image_size"])
    if not is_folder:
        raise UserError(f"--dataset {dataset}: nothing was published for it, and {subject.folder} has no result of it")
    from utils.data import shape_of  # with torch, which pictures do without
    return replace(subject, **shape_of(dataset))


def published_curve(subject: Subject, known: Known) -> Curve | None:
    """The published trainings of one method; None where there are none, or none on as many classes of as large images."""
    method, facts = known.method, dataset_facts(subject.dataset)
    rows = [row for row in read_accuracy()
            if (row["model"], row["dataset"], row["method"]) == (subject.model, subject.dataset, method)]
    if not rows or (facts.num_classes, facts.image_size) != tuple(subject.shape.values()):  # a folder that is called as a data set is
        return None
    curve = Curve(f"{label_of(method, known.warmup)}, published", method, True, method == "convcut")
    networks = published_method(subject.model, subject.dataset, method)
    for row in sorted(rows, key=lambda row: row["ratio"]):
        ratio = row["ratio"]
        if ratio not in curve.points:
            curve.points[ratio] = subject.point(networks, ratio)
        curve.points[ratio].accuracy.append(row["best_test_acc"])
    return curve


def run_curve(subject: Subject, name: str, *, label: str | None = None, known: Known | None = None) -> Curve | None:
    """The user's runs NAME and NAME_0, NAME_1, ... (its seeds) at all ratios; None where there are none.

    Without ``label`` it is called what its results say they are. ``known`` is what NAME is the default name of. Raises
    UserError for a file that is damaged or of another model or data set, for seeds that differ in more than the seed,
    and for a seed that is there twice.
    """
    pattern = re.compile(re.escape(name) + r"(?:_(\d+))?_(\d+)\.(json|pk)")
    curve = Curve(label or "", "", False)
    said: dict[str, tuple[object, Path]] = {}  # what the results say, and which said it first
    seeds: dict[tuple[float, int], Path] = {}
    for path in sorted(subject.folder.glob("*")):
        if not (match := pattern.fullmatch(path.name)):
            continue
        seed, ratio = int(match[1] or 0), int(match[2]) / 100
        result = read_result(path) if match[3] == "json" else old_result(path, subject, known, ratio, seed)
        if (result["model"], result["dataset"]) != (subject.model, subject.dataset):
            raise UserError(f"{path}: of {result['model']} on {result['dataset']}, not {subject.model} on {subject.dataset}")
        for key, value in common(result).items():
            first, where = said.setdefault(key, (value, path))
            if first != value:
                raise UserError(f"{path}: has other {key} than {where} ({value}, not {first}); the runs of one curve, {name} and {name}_X, "
                                "differ in nothing but the seed; move one of them away")
        if (first := seeds.setdefault((result["ratio"], result["seed"]), path)) != path:
            raise UserError(f"{path}: has the seed {result['seed']}, as {first} has; a seed counts once; move one of them away")
        if (shape := (result["num_classes"], result["image_size"])) != tuple(subject.shape.values()):
            raise UserError(f"{path}: of {shape[0]} classes of {shape[1]} pixels; {subject.dataset} has {subject.num_classes} of "
                            f"{subject.image_size}. Two data sets have one name; rename a folder, or move the result away")
        point = Point(tuple(result["filters"]), result["params"], result["macs"])
        curve.points.setdefault(result["ratio"], point).accuracy.append(result["best"])
        curve.method, curve.convcut = result["method"], result["convcut"]
        curve.budget, curve.round_to = result.get("budget", "params"), result.get("round_to", 1)
    curve.points = dict(sorted(curve.points.items()))
    curve.label = label or label_of(curve.method, known.warmup if known else None)
    curve.label += ", scaled to MACs" if curve.budget == "macs" else ""
    curve.label += f", widths multiples of {curve.round_to}" if curve.round_to != 1 else ""
    return curve if curve.points else None


def common(result: Result) -> dict[str, object]:
    """What the runs of one curve agree in: all that a result says it depends on, but the seed; at one ratio, the filters."""
    said = {**dict.fromkeys(AUGMENTATION), **result["settings"], "budget": result.get("budget", "params"),
            "round_to": result.get("round_to", 1), f"filters at ratio {result['ratio']}": list(result["filters"])}
    said |= {key: result[key] for key in ("method", "convcut", "num_classes", "image_size", "images", "test_images") if key in result}
    return {key: said[key] for key in said if key != "seed"}


def old_result(path: Path, subject: Subject, known: Known | None, ratio: float, seed: int) -> Result:
    """A ``.pk`` of the original release, which has accuracies alone, with what its default name says of its network."""
    if known is None:
        raise UserError(f"{path}: does not say what network it is of; name it as the README's default names do")
    networks = published_method(subject.model, subject.dataset, known.method)
    point = subject.point(networks, ratio)
    return {"model": subject.model, "dataset": subject.dataset, "convcut": networks.convcut, "ratio": ratio, "seed": seed,
            "num_classes": subject.num_classes, "image_size": subject.image_size,
            "method": known.method if known.warmup is None else "neuralscale_15", "settings": {}, "filters": list(point.filters),
            "params": point.params, "macs": point.macs, "best": max(read_test_accuracy(path))}


def gather(subject: Subject, known: list[Known], *, runs: list[str] | None = None, published: bool = True) -> list[Curve]:
    """The curves to draw: what was published of the methods ``known``, and the user's runs.

    ``runs`` (LABEL=NAME ...) names the user's; without it the default names are looked for. Raises UserError for a NAME
    that has no result, and when there is nothing to draw.
    """
    curves = [curve for method in known if (curve := published_curve(subject, method))] if published else []
    own: list[tuple[str, Curve]] = []
    for run in runs or []:
        label, equals, name = run.partition("=")
        if not (label and equals and name):
            raise UserError(f"--runs {run}: must be LABEL=NAME")
        if not (curve := run_curve(subject, name, label=label)):
            raise UserError(f"--runs {run}: no {name}_<ratio>.json or {name}_<seed>_<ratio>.json in {subject.folder}")
        own.append((name, curve))
    if not runs:
        own = [(method.name, curve) for method in known if (curve := run_curve(subject, method.name, known=method))]
    labels = Counter(curve.label for _, curve in own)
    for name, curve in own:
        if labels[curve.label] > 1:
            curve.label += f" ({name})"
    curves += [curve for _, curve in own]
    if not curves:
        raise UserError(f"nothing to draw for {subject.model} on {subject.dataset}: no published figures, and no runs in {subject.folder} "
                        f"({', '.join(method.name for method in known)}, or --runs LABEL=NAME)")
    return curves


def measure_latency(curves: list[Curve], subject: Subject, device: str) -> str:
    """Fills in the latency of every point, each network measured once; returns the name of the device."""
    from utils.training.device import Runner, pick_device
    from utils.training.latency import latency
    runner = Runner(pick_device(device))
    known: dict[tuple[int, ...], float] = {}
    for curve in curves:
        for point in curve.points.values():
            key = (*point.filters, curve.convcut)
            if key not in known:
                network = build_model(subject.model, list(point.filters), convcut=curve.convcut, **subject.shape)
                known[key] = latency(network, subject.image_size, runner)
            point.latency = known[key]
    return provenance(runner.device)["versions"]["device"]
