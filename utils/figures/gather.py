"""Gathers the curves to draw: published ones, and the user's runs, given by name or found."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from model import build_model, pixels_in
from utils.errors import UserError
from utils.figures.curves import Curve, Subject, published_curve, run_curve
from utils.figures.labels import CurveSpec, kind_of
from utils.records.files import read_json
from utils.records.paths import SIZES
from utils.records.run import provenance

MANY = 12  # user's own curves in one picture
ORDER = ("uniform", "convcut", "morphnet", "magnitude", "neuralscale")  # of the curves found


def gather(
    subject: Subject,
    known: list[CurveSpec],
    *,
    runs: list[str] | None = None,
    published: bool = True,
    found: Callable[[str], bool] = lambda kind: kind != "base",
) -> list[Curve]:
    """Return the curves to draw: the published results of the methods ``known``, and the user's
    runs.

    ``runs`` (LABEL=NAME ...) has the user's. Without it they are those under the default names of
    ``known``, and all others of this model and data set whose kind of method (see ``kind_of``) is
    to be ``found``. Raises UserError for a NAME without results, for damaged results under a
    default name, and when there is nothing to draw.
    """
    curves = (
        [curve for method in known if (curve := published_curve(subject, method))]
        if published
        else []
    )
    own = (
        list(named(subject, runs))
        if runs
        else [*usual(subject, known), *others(subject, known, found)]
    )

    labels = Counter(curve.label for _, curve in own)
    for name, curve in own:
        if labels[curve.label] > 1:
            curve.label += f" ({name})"
    curves += [curve for _, curve in own]
    if not curves:
        raise UserError(
            f"nothing to draw for {subject.model} on {subject.dataset}: no published figures, "
            f"and no runs in {subject.folder} "
            f"({', '.join(method.name for method in known)}, or --runs LABEL=NAME)"
        )
    if len(own) > MANY and not runs:
        print(
            f"({len(own)} curves of your own are many for one picture; choose some with --runs "
            "LABEL=NAME ...)"
        )
    return curves


def named(subject: Subject, runs: list[str]) -> Iterator[tuple[str, Curve]]:
    """Yield the runs that the user names, LABEL=NAME ...; each curve with its NAME."""
    for run in runs:
        label, equals, name = run.partition("=")
        if not (label and equals and name):
            raise UserError(f"--runs {run}: must be LABEL=NAME")
        if not (curve := run_curve(subject, name, label=label)):
            raise UserError(
                f"--runs {run}: no {name}_<ratio>.json or {name}_<seed>_<ratio>.json in "
                f"{subject.folder}"
            )
        yield name, curve


def usual(subject: Subject, known: list[CurveSpec]) -> Iterator[tuple[str, Curve]]:
    """Yield the runs under the default names of the methods ``known``; each curve with its name."""
    for method in known:
        if curve := run_curve(subject, method.name, known=method):
            yield method.name, curve


def others(
    subject: Subject, known: list[CurveSpec], found: Callable[[str], bool]
) -> Iterator[tuple[str, Curve]]:
    """Yield the runs of this model and data set under any other name, by method and name.

    Each curve comes with its name. NAME_0, NAME_1, ... are one curve; if they differ in more than
    the seed, a curve each. Runs that can't be drawn don't keep the others from being drawn: a
    printed line has the reason.
    """
    saves: dict[str, set[str]] = {}  # NAME -> NAME, NAME_0, ..., as given to --save
    kinds: dict[str, str] = {}
    default = re.compile("|".join(rf"{re.escape(method.name)}(_\d+)?" for method in known))

    for path in sorted(subject.folder.glob("[!.]*.json")):
        match = re.fullmatch(rf"((.+?)(?:_\d+)?)_{SIZES}\.json", path.name)
        if not match or default.fullmatch(match[1]):
            continue
        try:
            result = read_json(path)
        except UserError as error:
            print(f"left out: {error}")
            continue
        is_result = isinstance(result, dict) and isinstance(result.get("method"), str)
        if is_result and (result.get("model"), result.get("dataset")) == (
            subject.model,
            subject.dataset,
        ):
            saves.setdefault(match[2], set()).add(match[1])
            kinds.setdefault(match[2], kind_of(result["method"]))

    def place(name: str) -> tuple[int, str]:
        return ORDER.index(kinds[name]) if kinds[name] in ORDER else len(ORDER), name

    for name in sorted((name for name in saves if found(kinds[name])), key=place):
        yield from curves_of(subject, name, sorted(saves[name]))


def curves_of(subject: Subject, name: str, saves: list[str]) -> Iterator[tuple[str, Curve]]:
    """Yield the curve of all runs NAME and NAME_X; if they are no curve, one of each.

    A line is printed for a run without a curve.
    """
    try:
        if curve := run_curve(subject, name):
            yield name, curve
    except UserError as error:
        if len(saves) > 1 or saves != [name]:
            for save in saves:
                yield from curves_of(subject, save, [save])
        else:
            print(f"left out: {error}")


def measure_latency(curves: list[Curve], subject: Subject, device: str) -> str:
    """Measure each network once, set the latency of every point, and return the device's name."""
    from utils.training.device import Runner, pick_device
    from utils.training.latency import latency

    runner = Runner(pick_device(device))
    known: dict[tuple[int, ...], float] = {}
    for curve in curves:
        for point in curve.points.values():
            key = (*point.filters, curve.convcut)
            if key not in known:
                network = build_model(
                    subject.model, list(point.filters), convcut=curve.convcut, **subject.shape
                )
                known[key] = latency(network, pixels_in(subject.shape), runner)
            point.latency = known[key]
    return provenance(runner.device)["versions"]["device"]
