"""The commands that make results again, from the results themselves."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.figures.labels import kind_of
from utils.records.method import PRUNED
from utils.records.paths import size_slug
from utils.records.results import Result
from utils.records.searches import SearchRecord
from utils.records.sizes import size_of
from utils.settings import (
    DATASETS,
    PUBLISHED,
    Folders,
    Limit,
    SearchSettings,
    TrainingSettings,
    command_options,
    fine_tuning_preset,
    search_preset,
    shortest,
    training_preset,
)
from utils.settings.commands import search_script, sweep_script
from utils.settings.compression import PruningSettings
from utils.settings.fields import field_specs
from utils.settings.storage import seed_of
from utils.settings.target import size_order

SINGLE = {"magnitude": "fine_tune.py", "base": "train_norm.py"}  # scripts that train one network
PRUNES = "prune.py"
ONE_SIZE = (*SINGLE.values(), PRUNES)  # scripts that take one size
SWEPT = ("uniform", "convcut", "neuralscale", "morphnet")  # by ratio_swipe.py
SUBJECT = ("model", "dataset", "seed")


def commands(results: Sequence[tuple[Path, Result]], folders: Folders) -> list[str]:
    """Return the commands for these results: one for each --save, kind of size, and settings.

    There is none for methods without a command, and for settings that are refused by now.
    """
    sizes: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for path, result in sorted(results, key=lambda one: size_order(size_of(one[1]))):
        try:
            options = training_command(path, result)
        except UserError:
            continue
        if not options:
            continue

        size, many = size_of(result), options[1] not in ONE_SIZE
        ratio, target = "--ratios" if many else "--ratio", isinstance(size, Limit)
        said = str(size.target) if isinstance(size, Limit) else shortest(size)
        sizes.setdefault((options, "--target" if target else ratio), []).append(said)

    return [
        shlex.join([*options, *command_options(folders, Folders()), option, *group])
        for (options, option), said in sorted(sizes.items())
        for group in ([[one] for one in said] if options[1] in ONE_SIZE else [said])
    ]


def training_command(path: Path, result: Result) -> tuple[str, ...]:
    """Return the command of one training, without its size; () if its method has none.

    Raises UserError.
    """
    kind, dataset = kind_of(result["method"]), result["dataset"]
    pruned, save = kind.startswith(PRUNED), save_of(path, result)
    if kind not in (*SWEPT, *SINGLE) and not pruned:
        return ()
    script = PRUNES if pruned else SINGLE.get(kind, sweep_script(dataset))
    preset = (fine_tuning_preset if kind == "magnitude" else training_preset)(dataset)
    if pruned:
        preset = PruningSettings(dataset=dataset)
    settings: TrainingSettings = preset.with_overrides(kept_of(preset, result["settings"]))
    seed = [] if seed_of(save) == result["seed"] else ["--seed", str(result["seed"])]
    return (
        *("python3", script, "--model", result["model"], "--dataset", where(dataset)),
        *("--save", save, *networks_of(kind, result), *seed),
        *command_options(settings, preset, SUBJECT),
    )


def save_of(path: Path, result: Result) -> str:
    """Return the --save name of the result at ``path``."""
    return path.name.removesuffix(f"_{size_slug(size_of(result))}.json")


def networks_of(kind: str, result: Result) -> list[str]:
    """Return the options for the network that was trained."""
    if kind == "base":
        return []
    origin: Any = result.get("origin") or {}
    search = [] if origin.get("search") in (None, PUBLISHED) else [origin["search"]]
    pruned = kind.startswith(PRUNED)

    options: list[str] = {
        "": [],
        "uniform": ["--uniform"],
        "convcut": ["--uniform"],
        "morphnet": ["--morph", *(["--prune-fname", *search] if search else [])],
        "magnitude": ["--prune-fname", str(dict(result).get("base"))],
        "neuralscale": [
            *("--prune-fname", str(origin.get("search"))),
            *("--descent-idx", str(origin.get("iteration"))),
        ],
    }[kind_of(result["method"].partition("+")[2]) if pruned else kind]

    if pruned:
        criterion = kind.removeprefix(PRUNED)
        options += ["--weights", "path/to/weights", "--criterion", criterion]
    options += ["--convcut"] * result["convcut"]
    options += ["--budget", result.get("budget", "params")]
    if round_to := {1: []}.get(result.get("round_to", 1), [str(result.get("round_to"))]):
        options += ["--round-to", *round_to]
    if (least := result.get("min_width", 0)) or origin or pruned:
        options += ["--min-width", str(least)]
    return options + (["--keep", *result["keep"]] if result.get("keep") else [])


def search_command(name: str, record: SearchRecord, folders: Folders) -> str:
    """Return the command of the search ``name``; "" where its settings are refused by now."""
    dataset, kept = record["dataset"], record["settings"]
    preset = search_preset(dataset)
    if morph := bool(kept.get("morph")):
        preset = preset.morphnet()
    try:
        settings: SearchSettings = preset.with_overrides(kept_of(preset, kept))
    except UserError:
        return ""

    seed = [] if seed_of(name) == settings.seed else ["--seed", str(settings.seed)]
    return shlex.join(
        [
            *("python3", search_script(dataset)),
            *("--model", record["model"], "--dataset", where(dataset), "--save", name),
            *["--morph"] * morph,
            *seed,
            *command_options(settings, preset, (*SUBJECT, "morph")),
            *command_options(folders, Folders()),
        ]
    )


def where(dataset: str) -> str:
    """Return a value for --dataset; results have only the name of a folder."""
    return dataset if dataset in DATASETS else f"path/to/{dataset}"


def kept_of(preset: SearchSettings | TrainingSettings, kept: dict[str, Any]) -> dict[str, Any]:
    """Return the stored settings that are still fields."""
    names = {spec.name for spec in field_specs(type(preset))} - {"model", "dataset"}
    return {name: value for name, value in kept.items() if name in names}
