"""Tables and sentences of what a campaign has stored, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from campaign.headline import METHODS, MODEL, PART
from campaign.images import NAME
from campaign.scale import formats
from campaign.store import Facts
from utils.records.published import read_accuracy

WORTHWHILE = 1.3  # times faster, above which the campaign says so
BUSY = 0.8  # of a step's time in kernels, below which the host holds it up
RATIO = 0.25  # of the published headline


def table(parts: dict[str, dict[str, Facts]]) -> str:
    """Return all tables, with the errors and the devices."""
    found = [
        *searches_agree(pieces_of(parts, "agreement", "search")),
        *trainings_agree(pieces_of(parts, "agreement", "train")),
        *steps(pieces_of(parts, "agreement", "steps")),
        *speed(pieces_of(parts, "speed", "speed")),
        *headline(parts.get(PART, {})),
        *errors(parts),
    ]
    return "\n".join(found) if found else "nothing is stored yet"


def pieces_of(parts: dict[str, dict[str, Facts]], part: str, kind: str) -> dict[str, Facts]:
    """Return the pieces of one kind that ended well, without the kind in their names."""
    return {
        name.split(maxsplit=1)[1]: facts
        for name, facts in parts.get(part, {}).items()
        if name.split()[0] == kind and not {"error", "unfinished"} & facts.keys()
    }


def rows(title: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a table under its title; nothing without rows."""
    if not body:
        return []
    lines = [head, ["---"] * len(head), *body]
    return [f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""]


def devices(pieces: dict[str, Facts]) -> str:
    """Return the devices that pieces were measured on."""
    return ", ".join(sorted({facts["device"] for facts in pieces.values() if "device" in facts}))


# --- part 1 ---------------------------------------------------------------------------------------


def searches_agree(pieces: dict[str, Facts]) -> list[str]:
    """Return the table of how long searches keep the same filters."""
    body = [
        [
            name,
            agreed(facts["search"]),
            agreed(facts["killed"]),
            " / ".join(f"{facts['took'][side]:.0f} s" for side in ("device", "cpu")),
        ]
        for name, facts in pieces.items()
    ]
    head = ["same filters as", "the search on the CPU", "itself, killed and resumed"]
    head += ["took, device / CPU"]
    return rows(f"Searches, {devices(pieces)}", head, body)


def trainings_agree(pieces: dict[str, Facts]) -> list[str]:
    """Return the table of how far trainings and prunings agree, and of exported networks."""
    body = []
    for name, facts in pieces.items():
        training, pruning = facts["training"], facts["pruning"]
        body.append(
            [
                name,
                differ(training["cpu"], training["device"]),
                differ(training["device"], training["again"]),
                agreed(pruning),
                differ(pruning["cpu"], pruning["device"]),
                f"{max(facts['export'].values()):.0e}",
            ]
        )
    head = ["difference from", "the training on the CPU", "itself, again"]
    head += ["the pruning on the CPU: filters", "curve", "the exported network"]
    return rows(f"Trainings, prunings, exports, {devices(pieces)}", head, body)


def agreed(facts: Facts) -> str:
    """Return in how many rounds the filters of two runs were the same."""
    most, first = max(facts["rounds"]), facts["first"]
    if first is None:
        same = facts["rounds"][0] == facts["rounds"][1]
        return f"all {most} rounds" if same else f"all {min(facts['rounds'])} of {most} rounds"
    return (
        f"{first['round'] - 1} of {most} rounds; then {first['filters']} filters, from layer "
        f"{first['layer']} on"
    )


def differ(one: Facts, other: Facts) -> str:
    """Return the largest difference of two curves: of the loss, relative, and in points."""
    loss = max(abs(a - b) / abs(a) for a, b in zip(one["loss"], other["loss"]))
    points = max(abs(a - b) for a, b in zip(one["accuracy"], other["accuracy"]))
    return f"loss {loss:.0e}, {points:.2f} points" if loss or points else "the same"


def steps(pieces: dict[str, Facts]) -> list[str]:
    """Return the table of waits and memory."""
    body = []
    for name, facts in pieces.items():
        cells = [name]
        for kind in ("training", "search"):
            own = facts[kind]
            waits = (
                f"{own['steps']} steps: {own['waits'] or 'none waits'}" if "steps" in own else "-"
            )
            memory = f"{own['memory'] / 2**20:.0f}" if own["memory"] else "-"
            cells += [waits, memory]
        body.append(cells)
    sizes = {(facts["ratio"], facts["batch_size"]) for facts in pieces.values()}
    told = ", ".join(f"ratio {ratio:g}, batches of {size}" for ratio, size in sorted(sizes))
    head = ["network", "training", "MiB", "search", "MiB"]
    return rows(f"Waits and peak memory, {told}, {devices(pieces)}", head, body)


# --- part 2 ---------------------------------------------------------------------------------------


def speed(pieces: dict[str, Facts]) -> list[str]:
    """Return the table of images per second, and what follows from it in words."""
    body, words = [], []
    for name, both in pieces.items():
        for form in formats():
            facts = both[form]
            captured, kernels = facts["captured"], facts["kernels"]
            cells = [f"{name} {form}", *(images(facts[key]) for key in ("project", "plain"))]
            cells += [images(facts["resident"]), images(facts["eager"])]
            cells += [images(captured and captured.get(key, captured)) for key in ("alone", "fed")]
            cells += [gained(facts), share(both["batch_size"], facts)]
            body.append(cells)
            if captured and "alone" in captured:
                words.append(f"- {name} {form}: {verdict(both['batch_size'], facts)}")
            if kernels and "longest" in kernels:
                longest = ", ".join(
                    f"`{kernel}` {part:.0%}" for kernel, part in kernels["longest"].items()
                )
                words.append(f"  {kernels['number']:.0f} kernels a step; the longest: {longest}")
    if not all(both[form]["captured"] for both in pieces.values() for form in formats()):
        words.append("- No step was captured in a CUDA graph where there is no CUDA.")
    head = ["network", "project", "plain loop", "images on the device", "one batch"]
    head += ["captured", "captured, fed", "captured / eager", "kernels' share"]
    found = rows(f"Images per second, {devices(pieces)}", head, body)
    return [*found, *words, ""] if found else []


def images(value: Any) -> str:
    """Return images per second; - where there are none, or an error."""
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "error" if value else "-"


def gained(facts: Facts) -> str:
    """Return how many times faster the captured step is."""
    captured = facts["captured"]
    return f"{captured['alone'] / facts['eager']:.2f}" if captured and "alone" in captured else "-"


def busy(size: int, facts: Facts) -> float | None:
    """Return the part of an eager step in which kernels run; None if that was not measured."""
    kernels = facts["kernels"]
    if not kernels or "ms" not in kernels:
        return None
    return kernels["ms"] / 1000 * facts["eager"] / size


def share(size: int, facts: Facts) -> str:
    """Return that part in percent."""
    part = busy(size, facts)
    return "-" if part is None else f"{part:.0%}"


def verdict(size: int, facts: Facts) -> str:
    """Return in words what the captured step and the kernels say."""
    captured = facts["captured"]
    gain, fed = (
        captured[key] / facts[base] for key, base in (("alone", "eager"), ("fed", "project"))
    )
    is_over = "over" if gain > WORTHWHILE else "not over"
    said = f"captured, a step is {gain:.2f} times as fast as eager, {is_over} {WORTHWHILE}"
    said += f", and {fed:.2f} times on the project's batches"
    if (part := busy(size, facts)) is not None:
        held = "the host holds it up" if part < BUSY else "the GPU is busy"
        said += f"; kernels fill {part:.0%} of an eager step: {held}"
    return f"{said}. Its loss differs by {captured['loss_differs_by']:.0e}."


# --- part 3 ---------------------------------------------------------------------------------------


def headline(pieces: dict[str, Facts]) -> list[str]:
    """Return the table beside the published figures, and what is unfinished."""
    published = read_accuracy()
    body = []
    for method in METHODS:
        own = [
            facts for name, facts in pieces.items() if name.split()[1] == method and "best" in facts
        ]
        theirs = [
            row["best_test_acc"]
            for row in published
            if (row["model"], row["dataset"], row["method"], row["ratio"])
            == (MODEL, NAME, method, RATIO)
        ]
        if not own:
            continue
        best = [facts["best"] for facts in own]
        pace = fmean(facts["seconds"] / facts["epochs"] for facts in own)
        spread = f" ± {stdev(best):.2f}" if len(best) > 1 else ""
        body.append(
            [
                method,
                f"{own[0]['params']:,}",
                f"{own[0]['macs']:,}",
                str(len(own)),
                ", ".join(sorted({str(facts["epochs"]) for facts in own})),
                f"{fmean(best):.2f}{spread}",
                f"{fmean(theirs):.2f}",
                f"{pace:.1f}",
            ]
        )
    head = [
        "method",
        "parameters",
        "MACs",
        "seeds",
        "epochs",
        "best epoch, %",
        f"published at {RATIO:g} (5 seeds)",
    ]
    ratios = {f"{facts['ratio']:g}" for facts in pieces.values() if "ratio" in facts}
    title = f"{MODEL} on {NAME}, ratio {', '.join(sorted(ratios))}"
    found = rows(title, [*head, "seconds an epoch"], body)
    return found + searches(pieces) + unfinished(pieces)


def searches(pieces: dict[str, Facts]) -> list[str]:
    """Return a line for each finished search."""
    lines = []
    for name, facts in pieces.items():
        if "iterations" in facts:
            last = facts["iterations"][-1]
            beta = " ".join(f"{number:.2f}" for number in last["beta"])
            lines.append(
                f"- {name}: {len(facts['iterations'])} iterations in {facts['seconds']:.0f} s; "
                f"the last has {last['rounds']} rows, beta {beta}"
            )
    return [*lines, ""] if lines else []


def unfinished(pieces: dict[str, Facts]) -> list[str]:
    """Return a line on what has begun and not ended."""
    told = [
        f"{name} ({', '.join(f'{number} {what}' for what, number in facts['unfinished'].items())})"
        for name, facts in pieces.items()
        if "unfinished" in facts
    ]
    return [f"Unfinished: {'; '.join(told)}.", ""] if told else []


def errors(parts: dict[str, dict[str, Facts]]) -> list[str]:
    """Return a line for each piece that failed."""
    return [
        f"- {name}: {facts['error']}"
        for pieces in parts.values()
        for name, facts in pieces.items()
        if "error" in facts
    ]
