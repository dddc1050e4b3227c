"""Gathers trainings, the user's and the published ones, into curves: accuracy against the size of the network."""
from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model import build_model, count_macs, count_params, prepare_filters
from utils import records
from utils.legacy import read_test_accuracy
from utils.options import DATASETS, dataset_name, dataset_settings
from utils.records import UserError


@dataclass
class Point:
    """All seeds of one method at one ratio: best test accuracies in %, and the network that was trained."""

    filters: tuple[int, ...]
    params: int
    macs: int
    accuracy: list[float] = field(default_factory=list)
    latency: float | None = None  # milliseconds


@dataclass
class Curve:
    """One method; ``points`` by ratio."""

    label: str
    method: str
    published: bool
    convcut: bool = False
    points: dict[float, Point] = field(default_factory=dict)


@dataclass
class Subject:
    """What is compared: the networks of one model on one data set."""

    model: str
    dataset: str
    num_classes: int
    image_size: int
    record_dir: str
    plot_dir: str

    @property
    def shape(self) -> dict[str, int]:
        return {"num_classes": self.num_classes, "image_size": self.image_size}

    @property
    def folder(self) -> Path:
        return Path(self.plot_dir) / self.model

    def point(self, filters, convcut: bool) -> Point:
        return Point(tuple(filters), count_params(self.model, list(filters), convcut=convcut, **self.shape),
                     count_macs(self.model, list(filters), convcut=convcut, **self.shape))

    def filters_of(self, method: str) -> Callable[[float], list[int]]:
        """How a published method gets from a ratio to filters. Raises UserError for a method without a rule."""
        scaling = pruned = None
        if method == "morphnet":
            pruned = records.read_morph(self.record_dir, None, self.model, self.dataset)
        elif match := re.fullmatch(r"neuralscale_(\d+)|warmup_(\d+)", method):
            warmup = int(match[2]) if match[2] else None
            entry = records.read_published_scaling(self.model, self.dataset, warmup)
            scaling = records.law_of(entry, int(match[1]) - 1 if match[1] else -1)
        elif method not in ("uniform", "convcut", "magnitude"):
            raise UserError(f"method {method} is unknown; its networks can't be told from its name")
        return lambda ratio: prepare_filters(self.model, ratio, scaling=scaling, pruned_filters=pruned, **self.shape)


def subject_of(args: argparse.Namespace) -> Subject:
    """The subject of a plotting script; the classes and the image size of an unknown data set come from a result."""
    name = dataset_name(args.dataset)
    settings = dataset_settings(name)
    subject = Subject(args.model, name, settings.num_classes or 0, settings.image_size, args.record_dir, args.plot_dir)
    if name not in DATASETS:
        for path in sorted(subject.folder.glob("[!.]*.json")):
            result = records.read_json(path)
            if isinstance(result, dict) and result.get("dataset") == name:
                subject.num_classes, subject.image_size = result["num_classes"], result["image_size"]
                return subject
        raise UserError(f"--dataset {args.dataset}: nothing was published for it, and {subject.folder} has no result of it")
    return subject


def published_curve(subject: Subject, method: str, label: str) -> Curve | None:
    """The published trainings of one method; None where there are none."""
    rows = [row for row in records.read_accuracy()
            if (row["model"], row["dataset"], row["method"]) == (subject.model, subject.dataset, method)]
    if not rows:
        return None
    curve = Curve(label, method, True, method == "convcut")
    filters = subject.filters_of(method)
    for row in sorted(rows, key=lambda row: row["ratio"]):
        ratio = row["ratio"]
        if ratio not in curve.points:
            curve.points[ratio] = subject.point(filters(ratio), curve.convcut)
        curve.points[ratio].accuracy.append(row["best_test_acc"])
    return curve


def run_curve(subject: Subject, name: str, label: str, method: str | None = None) -> Curve | None:
    """The user's runs NAME and NAME_0, NAME_1, ... (its seeds) at all ratios; None where there are none.

    ``method`` is that of the default names, needed for the original release's ``.pk`` files, which do not say what
    network they are of. Raises UserError for a file that is damaged or of another model or data set, and for seeds
    that trained different networks.
    """
    pattern = re.compile(re.escape(name) + r"(_\d+)?_(\d+)\.(json|pk)")
    curve = None
    for path in sorted(subject.folder.glob("*")):
        if not (match := pattern.fullmatch(path.name)):
            continue
        if match[3] == "pk":
            if method is None:
                raise UserError(f"{path}: does not say what network it is of; name it as the README's default names do")
            ratio, convcut, best = int(match[2]) / 100, method == "convcut", max(read_test_accuracy(path))
            point = subject.point(subject.filters_of(method)(ratio), convcut)
        else:
            result = records.read_result(path)
            if (result["model"], result["dataset"]) != (subject.model, subject.dataset):
                raise UserError(f"{path}: of {result['model']} on {result['dataset']}, not {subject.model} on {subject.dataset}")
            ratio, convcut, best = result["ratio"], result["convcut"], result["best"]
            method = method or result["method"]
            point = Point(tuple(result["filters"]), result["params"], result["macs"])
        curve = curve or Curve(label, method, False, convcut)
        if curve.points.setdefault(ratio, point).filters != point.filters:
            raise UserError(f"{path}: has other filters than the run of another seed with the same name; a curve has one network per ratio")
        curve.points[ratio].accuracy.append(best)
    if curve:
        curve.points = dict(sorted(curve.points.items()))
    return curve


def gather(args: argparse.Namespace, subject: Subject, known: dict[str, tuple[str, list[str]]]) -> list[Curve]:
    """The curves that a plotting script draws. ``known``: method -> (label, default names of the user's runs).

    --runs LABEL=NAME ... names the user's runs; without it the default names are looked for. Raises UserError for a
    NAME that has no result, and when there is nothing to draw.
    """
    curves = []
    if not args.no_published:
        curves += [published_curve(subject, method, f"{label}, published") for method, (label, _) in known.items()]
    if args.runs:
        for run in args.runs:
            label, equals, name = run.partition("=")
            if not (label and equals and name):
                raise UserError(f"--runs {run}: must be LABEL=NAME")
            curves.append(run_curve(subject, name, label))
            if curves[-1] is None:
                raise UserError(f"--runs {run}: no {name}_<ratio>.json or {name}_<seed>_<ratio>.json in {subject.folder}")
    else:
        curves += [run_curve(subject, name, label, method) for method, (label, names) in known.items() for name in names]
    curves = [curve for curve in curves if curve]
    if not curves:
        raise UserError(f"nothing to draw for {subject.model} on {subject.dataset}: no published figures, and no runs in {subject.folder} "
                        f"({', '.join(names[0] for _, names in known.values() if names)}, or --runs LABEL=NAME)")
    return curves


def measure_latency(curves: list[Curve], subject: Subject, device: str) -> str:
    """Fills in the latency of every point, each network measured once; returns the name of the device."""
    from utils.engine import Runner, pick_device
    from utils.latency import latency
    runner = Runner(pick_device(device))
    known: dict[tuple, float] = {}
    for curve in curves:
        for point in curve.points.values():
            key = (*point.filters, curve.convcut)
            if key not in known:
                network = build_model(subject.model, list(point.filters), convcut=curve.convcut, **subject.shape)
                known[key] = latency(network, subject.image_size, runner)
            point.latency = known[key]
    return records.versions(runner.device)["device"]


def reference_of(curve: Curve, curves: list[Curve]) -> Curve | None:
    """The uniform curve that a curve is compared with: its own side's, published or the user's; else the other's."""
    uniform = [c for c in curves if c.method == "uniform"]
    return next((c for c in uniform if c.published == curve.published), uniform[0] if uniform else None)


def print_table(curves: list[Curve], subject: Subject) -> None:
    """Parameters, MACs, latency, mean, std, n and gap to uniform of every point."""
    print(f"{subject.model} on {subject.dataset}: best test accuracy in %")
    if any(curve.published for curve in curves):
        print("(published: mean of per-batch accuracies; an exact count, as in runs of this project, reads up to 0.3 lower)")
    timed = any(point.latency is not None for curve in curves for point in curve.points.values())
    width = max(6, *(len(curve.label) for curve in curves))
    milliseconds = f" {'ms':>8}" if timed else ""
    print(f"{'method':{width}} {'ratio':>6} {'parameters':>11} {'MMACs':>8}{milliseconds} {'mean':>7} {'std':>6} {'n':>3} {'gap':>7}")
    for curve in curves:
        reference = reference_of(curve, curves)
        for ratio, point in curve.points.items():
            std = f"{np.std(point.accuracy, ddof=1):6.2f}" if len(point.accuracy) > 1 else f"{'-':>6}"
            gap = f"{'-':>7}"
            if reference and reference is not curve and ratio in reference.points:  # of the means as they are printed
                gap = f"{round(np.mean(point.accuracy), 2) - round(np.mean(reference.points[ratio].accuracy), 2):+7.2f}"
            time = f" {point.latency:8.1f}" if timed else ""
            print(f"{curve.label:{width}} {ratio:6g} {point.params:11,} {point.macs / 1e6:8.1f}{time} {np.mean(point.accuracy):7.2f} {std} "
                  f"{len(point.accuracy):3} {gap}")


def draw(curves: list[Curve], subject: Subject, axis: str, title: str, path: Path, device: str = "") -> None:
    """Accuracy above, the gap to uniform below, against parameters, MACs or latency."""
    from utils import plotting
    has_gap = any(reference_of(c, curves) not in (None, c) for c in curves)
    fig, axes = plotting.figure(2 if has_gap else 1, 1, width=7.2, height=7.0 if has_gap else 4.6, sharex=True, squeeze=False,
                                height_ratios=[3, 2] if has_gap else None)
    top, bottom = axes[0, 0], axes[-1, 0]
    for index, curve in enumerate(curves):
        x = [getattr(point, axis) for point in curve.points.values()]
        plotting.band(top, x, [point.accuracy for point in curve.points.values()], index, curve.label)
        reference = reference_of(curve, curves)
        if has_gap and reference:
            shared = [ratio for ratio in curve.points if ratio in reference.points]
            plotting.band(bottom, [getattr(curve.points[r], axis) for r in shared],
                          [[a - np.mean(reference.points[r].accuracy) for a in curve.points[r].accuracy] for r in shared], index, "")
    top.set(title=title, ylabel="best test accuracy (%)")
    if has_gap:
        bottom.set_ylabel("gap to uniform\n(percentage points)")
    bottom.set_xlabel({"params": "parameters (millions)", "macs": "multiply-accumulates per image (millions)",
                       "latency": f"latency of 100 images (ms, {device})"}[axis])
    if axis == "latency":
        bottom.set_xscale("log")
        bottom.xaxis.set_major_formatter("{x:g}")
    elif axis == "macs":
        plotting.plain_log_x(bottom)
    else:
        plotting.millions(bottom)
    plotting.legend_below(fig, top)
    plotting.save(fig, path)

