"""The cost of accuracy: all networks by multiply-accumulates and parameters at once, and the best
of each budget."""

from pathlib import Path
from typing import Any, NamedTuple

from utils.figures.comparison import print_table
from utils.figures.curves import Curve, Point, Subject
from utils.figures.drawing import AXIS_LABELS, within
from utils.figures.gaps import AXES
from utils.figures.gather import gather, measure_latency
from utils.figures.looks import Look, looks_of
from utils.records.method import Method
from utils.settings import Comparison, Limit, Size
from utils.settings.target import size_order, size_shown

UNITS = ("macs", "params")
# areas of markers in square points, for the largest network, and at least
LARGEST, SMALLEST = 300.0, 12.0


class Best(NamedTuple):
    """The most accurate network that costs at most ``amount``.

    That is the cost of the uniform network of ``size``, or the target itself.
    """

    size: Size
    amount: int
    curve: Curve
    at: Size  # the network's own size
    point: Point


def best_within(curves: list[Curve], subject: Subject, unit: str) -> list[Best]:
    """Return the best network of each budget, in ``unit``, that some network is within.

    The budgets are those of the curves' ratios and targets.
    """
    networks = [(curve, at, point) for curve in curves for at, point in curve.points.items()]
    found = []
    for size in sorted({at for _, at, _ in networks}, key=size_order):
        amount = amount_of(size, subject, unit)
        within = [network for network in networks if getattr(network[2], unit) <= amount]
        if within:
            found.append(
                Best(
                    size,
                    amount,
                    *max(within, key=lambda network: (network[2].mean, -getattr(network[2], unit))),
                )
            )
    return found


def amount_of(size: Size, subject: Subject, unit: str) -> int:
    """Return the cost of the uniform network of a size in ``unit``; a target in that unit
    itself."""
    uniform = Method("uniform", subject.model, budget=getattr(size, "budget", "params"))
    if isinstance(size, Limit) and size.budget == unit:
        return uniform.amount(size, **subject.shape)
    amount: int = getattr(subject.point(uniform, size), unit)
    return amount


def front_of(points: list[Point]) -> list[Point]:
    """Return the networks that no other one beats, by increasing MACs.

    One beats another if it is at least as accurate with fewer multiply-accumulates.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.macs, -point.mean)):
        if not front or point.mean > front[-1].mean:
            front.append(point)
    return front


def print_best(curves: list[Curve], subject: Subject) -> None:
    """Print the best network of each budget in multiply-accumulates and in parameters, as two
    tables."""
    width = max(6, *(len(curve.label) for curve in curves))
    sizes = [at for curve in curves for at in curve.points]
    wide, targets = (
        max(map(len, ["budget", *map(size_shown, sizes)])),
        any(isinstance(size, Limit) for size in sizes),
    )

    for unit in UNITS:
        print(
            f"\nthe most accurate network within the {AXES[unit]} of each ratio's uniform network"
            + ", or within the target" * targets
        )
        print(
            f"{'budget':>{wide}} {'at most':>12}  {'method':{width}} "
            f"{'size' if targets else 'ratio':>{wide}} {'parameters':>11} {'MMACs':>8} {'mean':>7}"
        )
        for best in best_within(curves, subject, unit):
            amount = f"{best.amount / 1e6:,.1f} MMACs" if unit == "macs" else f"{best.amount:,}"
            print(
                f"{size_shown(best.size):>{wide}} {amount:>12}  {best.curve.label:{width}} "
                f"{size_shown(best.at):>{wide}} {best.point.params:11,} "
                f"{best.point.macs / 1e6:8.1f} {best.point.mean:7.2f}"
            )


def draw_front(curves: list[Curve], title: str, path: Path) -> None:
    """Draw accuracy against multiply-accumulates as the PNG ``path``.

    The area of a marker grows with the parameters.
    """
    from utils.figures import style

    fig, axes = style.figure(width=7.6, height=5.8)
    shown, frame = within(curves, "macs")
    inside = [
        point
        for curve in shown
        for point in curve.points.values()
        if frame.has(point.macs, point.mean)
    ]
    largest = max(point.params for point in inside)

    # the best networks as a staircase, then all of them
    front = front_of(inside)
    axes.plot(
        [point.macs for point in front],
        [point.mean for point in front],
        color="0.8",
        linewidth=5,
        drawstyle="steps-post",
        zorder=1,
        label="the best that costs so much or less",
    )
    for curve, look in zip(shown, looks_of(shown)):
        draw_networks(axes, curve, look, largest)

    # scales, and the meaning of the sizes
    axes.set(
        title=style.wrapped(title), ylabel="best test accuracy (%)", xlim=frame[:2], ylim=frame[2:]
    )
    style.scale_x(axes, *frame[:2], AXIS_LABELS["macs"])
    grey: dict[str, Any] = {"color": "0.55", "edgecolors": "white"}
    sizes = [
        axes.scatter([], [], s=area(params, largest), label=style.counted(params), **grey)
        for params in style.round_numbers(largest)
    ]
    axes.legend(
        handles=sizes,
        title="parameters",
        loc="best",
        labelspacing=1.3,
        borderpad=1.0,
        handletextpad=1.2,
    )
    handles, labels = axes.get_legend_handles_labels()
    lines = {
        label: style.key(handle) for handle, label in zip(handles, labels) if handle not in sizes
    }
    style.legend_below(fig, [*lines.values()], [*lines])
    style.save(fig, path)


def area(params: float, largest: int) -> float:
    """Return the area of a marker in square points, if the largest network has ``largest``."""
    return max(SMALLEST, LARGEST * params / largest)


def draw_networks(axes: Any, curve: Curve, look: Look, largest: int) -> None:
    """Draw a curve as a thin line, with a marker for each network."""
    points = list(curve.points.values())
    macs, means = [point.macs for point in points], [point.mean for point in points]
    face = look.colour if look.filled else "none"
    axes.plot(
        macs,
        means,
        color=look.colour,
        linewidth=0.9,
        linestyle=look.dash,
        alpha=0.6,
        marker=look.marker,
        markersize=0,
        markerfacecolor=face,
        label=curve.label,
        zorder=2,
    )

    axes.scatter(
        macs,
        means,
        s=[area(point.params, largest) for point in points],
        facecolors=face,
        marker=look.marker,
        alpha=0.65,
        edgecolors="white" if look.filled else look.colour,
        linewidths=0.7,
        zorder=3,
    )


def show_front(subject: Subject, asked: Comparison, out: Path | None = None) -> None:
    """Print the table of all methods and the best networks, and draw all of them as the PNG
    ``out``."""
    known = subject.known(
        "uniform", "convcut", "morphnet", "magnitude", "neuralscale_1", "neuralscale_15"
    )
    curves = gather(subject, known, runs=list(asked.runs or ()), published=asked.published)
    device = measure_latency(curves, subject, asked.device) if asked.axis == "latency" else ""
    print_table(curves, subject, asked.axis, device=device)
    print_best(curves, subject)
    draw_front(
        curves,
        f"{subject.title}: what accuracy costs",
        out or subject.folder / f"{subject.dataset}_front.png",
    )
