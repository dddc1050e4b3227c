"""One page for a comparison, which stands alone: the question, the results, pictures, the widths of
each layer, and how to repeat it."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from model import layer_names, pixels_in, template
from model.errors import UnreadableNetwork
from utils.errors import UserError
from utils.figures import page_parts as html
from utils.figures.curves import Curve, Subject, run_curve, subject_of
from utils.figures.gaps import gaps, reference_of
from utils.figures.repeat import commands, save_of, search_command
from utils.figures.words import in_words
from utils.records.files import write_text
from utils.records.paths import named_after, page_file, search_record
from utils.records.results import Result, results_of
from utils.records.searches import SearchRecord, read_search
from utils.records.sizes import size_of
from utils.settings import AUGMENTATION, PUBLISHED, Folders, Size, Task, check_name
from utils.settings.target import size_shown, size_told

TRAINED = (  # the settings of a training that the page shows
    *("epochs", "batch_size", "lr", "momentum", "weight_decay"),
    *("limit_train", "validate", "amp"),
)
Named = dict[str, list[tuple[Path, Result]]]  # the results of each NAME


def write_page(
    model: str,
    names: Sequence[str],
    folders: Folders,
    out: Path | None = None,
    *,
    dataset: str | None = None,
    command: str = "",
) -> Path:
    """Write the page of the runs ``names`` as ``out``, and return its path.

    Each name stands for NAME_0, NAME_1, ... too. ``command`` is the command that made all of it.
    Raises UserError where a name has no result, for results that are damaged or of several data
    sets, and for seeds of one name that differ in more than the seed.
    """
    found: Named = {
        name: results_of(named_after(folders.plot_dir, model), check_name(name), dataset)
        for name in dict.fromkeys(names)
    }

    of = {result["dataset"]: path for results in found.values() for path, result in results}
    if len(of) > 1:
        raise UserError(f"{' and '.join(map(str, of.values()))}: of {' and '.join(of)}; name one")
    subject = subject_of(model, next(iter(of)), folders.plot_dir)
    curves = {name: curve for name in found if (curve := run_curve(subject, name))}
    searches = searches_of(found, folders, subject)

    title = f"{subject.title}: {', '.join(found)}"
    said = f"{subject.num_classes} classes, images of {pixels_in(subject.shape)} pixels"
    page = html.document(
        title,
        said,
        {
            "What was asked": asked_section(found, searches, command),
            "Results": results_table(found, curves),
            "Pictures": pictures(subject, curves, [*found], [*searches], folders),
            "Filters of each layer": widths(subject, found, curves),
            "How to repeat it": repeat_section(found, searches, folders),
        },
    )
    path = out or page_file(folders.plot_dir, model, subject.dataset, [*found])
    write_text(path, page)
    print(f"wrote {path}")
    return path


def searches_of(found: Named, folders: Folders, subject: Subject) -> dict[str, SearchRecord]:
    """Return the records, by name, of the searches that the networks came from, where these are
    there and whole."""
    origins = [result.get("origin") for results in found.values() for _, result in results]
    records: dict[str, SearchRecord] = {}
    for name in dict.fromkeys(origin["search"] for origin in origins if origin):
        if name == PUBLISHED or not search_record(folders.record_dir, name).exists():
            continue
        try:
            records[name] = read_search(folders.record_dir, name, subject.model, subject.dataset)
        except UserError as error:
            print(f"left out: {error}")
    return records


def asked_section(found: Named, searches: dict[str, SearchRecord], command: str) -> str:
    """Return the networks that were trained, and their settings."""
    rows = []
    for name, results in found.items():
        seeds = sorted({result["seed"] for _, result in results})
        sizes = list(dict.fromkeys(size_told(size) for size in sizes_in(results)))
        rows.append((name, f"{'; '.join(sizes)}; seeds {' '.join(map(str, seeds))}"))
        first = results[0][1]
        settings: dict[str, Any] = {**first["settings"], "images": first.get("images")}
        shown = [
            f"{key} {settings[key]}"
            for key in (*TRAINED, *AUGMENTATION, "images")
            if settings.get(key) not in (None, False)
        ]
        rows.append(("", ", ".join(shown)))

    # the searches
    for name, record in searches.items():
        kept = record["settings"]
        shown = [
            f"{key} {kept[key]}"
            for key in ("budget", "iterations", "warmup", "prune_every", "prune_step", "ratio")
            if key in kept
        ]
        rows.append((f"the search {name}", ", ".join(shown)))
    return (html.code([command]) if command else "") + html.facts(rows)


def sizes_in(results: Sequence[tuple[Path, Result]]) -> list[Size]:
    """Return the sizes of results, each once, in the order of their parameters."""
    ordered = sorted(results, key=lambda one: one[1]["params"])
    return list(dict.fromkeys(size_of(result) for _, result in ordered))


def results_table(found: Named, curves: dict[str, Curve]) -> str:
    """Return a table with the accuracy and the costs of each network."""
    rows = []
    every = [*curves.values()]
    for name, curve in curves.items():
        reference = reference_of(curve, every)
        gap = {
            axis: gaps(curve, reference, axis) if reference and reference is not curve else {}
            for axis in ("params", "macs")
        }

        rows += [[cell, name, *cells] for cell, *cells in given_rows(found[name])]
        for size, point in curve.points.items():
            many = len(point.accuracy) > 1
            std = f" ± {np.std(point.accuracy, ddof=1):.2f}" if many else ""
            differences = [
                f"{round(gap[axis][size].mean, 2) + 0:+.2f}" if size in gap[axis] else "-"
                for axis in ("params", "macs")
            ]
            rows.append(
                [
                    curve.label,
                    name,
                    size_shown(size),
                    f"{point.params:,}",
                    f"{point.macs / 1e6:,.1f}",
                    f"{point.mean:.2f}{std}",
                    str(len(point.accuracy)),
                    *differences,
                ]
            )

    heads = ["method", "name", "size", "parameters", "MMACs", "best test accuracy, %", "seeds"]
    note = (
        "Accuracy: the mean over the seeds, of the best epoch in test, and the standard deviation."
    )
    if any(cell != "-" for row in rows for cell in row[len(heads) :]):
        heads += ["to uniform, equal parameters", "equal MACs"]
        note += (
            " The differences, in percentage points, are to the uniform networks on this page, "
            "interpolated in the logarithm of what is equal."
        )

    references = [reference_of(curve, every) for curve in every]
    said = [line for axis in ("params", "macs") for line in in_words(every, references, axis)]
    words = "\n".join(html.paragraph(f"{line}.") for line in said)
    shown = [row[: len(heads)] for row in rows]
    return html.table(heads, shown) + words + html.paragraph(note, "soft")


def given_rows(results: Sequence[tuple[Path, Result]]) -> list[list[str]]:
    """Return what networks were before they were pruned, a row for each; none of other results."""
    given = {
        str(dict(result).get("weights")): result["before"]
        for _, result in results
        if "before" in result
    }
    rows = []
    for before in given.values():
        costs = (f"{before['params']:,}", f"{before['macs'] / 1e6:,.1f}")
        rows.append(["as it came", "-", *costs, f"{before['test_acc']:.2f}", "-", "-", "-"])
    return rows


def typed() -> str:
    """Return the command line of this process, as one types it at first."""
    options = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    return shlex.join(["python3", Path(sys.argv[0]).name, *options])


def pictures(
    subject: Subject,
    curves: dict[str, Curve],
    names: list[str],
    searches: list[str],
    folders: Folders,
) -> str:
    """Return the project's own figures, drawn anew and embedded."""
    from utils.figures.drawing import draw
    from utils.figures.residual import draw_residual_filters
    from utils.figures.training import draw_training

    shown = []
    with tempfile.TemporaryDirectory() as place, redirect_stdout(StringIO()):
        png = Path(place) / "picture.png"
        for axis, what in (("params", "parameters"), ("macs", "multiply-accumulates")):
            draw([*curves.values()], axis, subject.title, png)
            shown.append(html.picture(png, f"Accuracy against {what}"))

        draw_training(subject.model, subject.folder, names, png, subject.dataset)
        shown.append(html.picture(png, "Loss and accuracy over the epochs"))
        task = Task(model=subject.model, dataset=subject.dataset)
        for name in searches:
            try:
                draw_residual_filters(task, name, folders, png)
            except (UserError, UnreadableNetwork):
                continue
            shown.append(html.picture(png, f"Filters left in each layer, in the search {name}"))
    return "\n".join(shown)


def widths(subject: Subject, found: Named, curves: dict[str, Curve]) -> str:
    """Return the filters of each layer of every network as bars, before those of the template."""
    try:
        whole: list[int] | None = template(subject.model)
        layers: list[str] | None = [", ".join(names) for names in layer_names(subject.model)]
    except (UnreadableNetwork, ValueError):  # a network of the user's that is not there any more
        whole = layers = None

    parts = [
        html.paragraph(
            "Each bar is a layer, in the order of the network"
            + ("; the light one behind it, the template." if whole else "."),
            "soft",
        )
    ]

    for name, curve in curves.items():
        for size, point in curve.points.items():
            parts.append(html.heading(f"{name}, {size_told(size)}"))
            fits = whole if whole and len(whole) == len(point.filters) else None
            parts.append(html.bars(point.filters, fits, layers if fits else None))
    if layers:
        numbered = [(str(number), layer) for number, layer in enumerate(layers, 1)]
        parts.append(html.folded("The layers by their names", html.facts(numbered)))
    return "\n".join(parts)


def bases_of(results: Sequence[tuple[Path, Result]]) -> list[tuple[Path, Result]]:
    """Return the results of the base networks of fine-tunings, where these are there."""
    named = {
        (path.parent, str(base)) for path, result in results if (base := dict(result).get("base"))
    }
    found = []
    for folder, base in sorted(named):
        with suppress(UserError):
            found += [
                (path, result)
                for path, result in results_of(folder, base)
                if result["method"] == "base" and save_of(path, result) == base
            ]
    return found


def repeat_section(found: Named, searches: dict[str, SearchRecord], folders: Folders) -> str:
    """Return the commands, the software and hardware, and the paths of the results."""
    results = [one for several in found.values() for one in several]
    searched = [search_command(name, record, folders) for name, record in searches.items()]
    bases = commands(bases_of(results), folders)
    lines = [*dict.fromkeys([*filter(None, searched), *bases, *commands(results, folders)])]
    first = results[0][1]
    versions = {**first["versions"], "threads": first.get("threads"), "commit": first.get("commit")}
    rows = [(key, str(value)) for key, value in versions.items() if value is not None]
    stored = html.code([str(path) for path, _ in results])
    return (
        (html.code(lines) if lines else "")
        + html.facts(rows)
        + html.folded("The results that this page is made of", stored)
    )
