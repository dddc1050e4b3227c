"""The two halves of the magnitude baseline: train the base network; prune and fine-tune it."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model import COLOURS, build_model, is_imported, pixels_in, uniform_filters
from model.gate import GateLayer, gates_of
from model.graph.user_network import imported
from utils.data import Data
from utils.data.channels import channels_for
from utils.errors import UserError
from utils.records.files import read_tensors
from utils.records.methods import Method, refuse_impossible
from utils.records.networks import expect_enough
from utils.records.paths import at_size, weights_file
from utils.records.results import Result
from utils.records.run import taken_up
from utils.records.shapes import shape_in
from utils.records.sizes import size_asked
from utils.settings import (
    BaseNetwork,
    Machine,
    PrunedNetwork,
    Storage,
    TrainingSettings,
    fine_tuning_preset,
    least_width,
    training_preset,
)
from utils.training.compare import check_training
from utils.training.magnitude import compactor_of, largest_filters, prune, pruned_widths
from utils.training.prepare import check_memory, prepare
from utils.training.scratch import TrainingRun

AGAIN = "train it again with train_norm.py"
SAME_OUTPUTS = 1e-3  # relative; masking and removing differ by the rounding of float32


def train_base(
    settings: TrainingSettings,
    network: BaseNetwork,
    storage: Storage,
    machine: Machine | None = None,
) -> Result:
    """Trains the base network of the magnitude baseline: the template, uniformly scaled. Raises
    UserError."""
    ratio = network.ratio
    channels = channels_for(
        settings.model, settings.dataset, settings.image_size, settings.channels
    )
    refuse_impossible(
        settings.model,
        settings.dataset,
        ratio,
        image_size=settings.image_size,
        channels=channels,
    )
    run = TrainingRun(settings, training_preset(settings.dataset), storage, ratio, storage.save)
    with run.exclusive():
        data, runner = prepare(
            settings,
            storage,
            machine,
            batch_size=settings.batch_size,
            limit_test=settings.limit_test,
            channels=channels,
        )
        filters = uniform_filters(settings.model, ratio)
        described = run.describe(Method("base", settings.model), filters, data)
        check_memory(described["params"], runner)
        if storage.overwrite or not run.result.exists():
            check_training(settings.model, data.shape, gated=False)
        if storage.overwrite:
            run.discard()
        print(
            f"base network: {described['params']:,} parameters, {described['macs'] / 1e6:.1f} MMACs"
        )
        return run.train(partial(build_model, settings.model, filters, **data.shape), data, runner)


def fine_tune(
    settings: TrainingSettings,
    pruned: PrunedNetwork,
    storage: Storage,
    machine: Machine | None = None,
) -> Result:
    """Prunes a base network to the budget of a uniform scaling, or to a target, and trains it on.
    Raises UserError."""
    base, size = pruned.prune_fname, size_asked(pruned, pruned.unit)
    path = weights_file(storage.model_dir, settings.model, base)
    stored = read_tensors(path)
    shape = taken_up(path, lambda: shape_in(stored), AGAIN)
    pixels, channels = shape["image_size"], settings.channels or shape.get("channels")
    refuse_impossible(
        settings.model,
        settings.dataset,
        size,
        image_size=settings.image_size or pixels,
        channels=channels,
        keep=pruned.keep,
    )
    run = TrainingRun(
        settings,
        fine_tuning_preset(settings.dataset),
        storage,
        size,
        at_size(storage.save, size),
    )
    with run.exclusive():
        data, runner = prepare(
            settings,
            storage,
            machine,
            batch_size=settings.batch_size,
            limit_test=settings.limit_test,
            default_size=pixels,
            channels=channels,
        )
        network = taken_up(
            path,
            lambda: gated(path, stored, settings.model, data, settings.validate),
            AGAIN,
        )
        network = runner.place(network)
        filters = stored["filters"]
        method = Method(
            "magnitude",
            settings.model,
            budget=pruned.unit,
            min_width=least_width(settings.model, pruned.min_width),
            keep=pruned.keep,
        )
        widths = pruned_widths(
            settings.model,
            size,
            filters,
            budget=method.budget,
            min_width=method.min_width,
            keep=method.keep,
            **data.shape,
        )
        if storage.overwrite or not run.result.exists():
            check_training(settings.model, data.shape, gated=True)
        compactor = compactor_of(settings.model, network, **data.shape)
        kept = largest_filters(compactor, widths)
        described = run.describe(
            method,
            widths,
            data,
            base=base,
            kept=[mask.nonzero().flatten().tolist() for mask in kept],
        )
        small, difference = prune(compactor, kept, pixels_in(data.shape))
        if difference is not None and not difference < SAME_OUTPUTS:
            raise UserError(
                f"{path}: removing the pruned filters changed the outputs by {difference:.1e}, "
                "relative to the largest; "
                "are its weights finite?"
            )
        physical = sum(p.numel() for p in small.parameters()) - sum(
            gate.weight.numel() for gate in gates_of(small)
        )
        outputs = (
            "its outputs are others: norms now take their means over fewer filters"
            if difference is None
            else (f"its outputs differ by {difference:.1e}")
        )
        print(
            f"pruned {sum(filters) - sum(widths)} of {sum(filters)} filters by L1 norm: "
            f"{' '.join(map(str, widths))}\n"
            f"  {method.told(described)}; rebuilt small ({physical:,} parameters), "
            f"{outputs}",
            flush=True,
        )
        run.base_filters = filters
        if storage.overwrite:
            run.discard()
        return run.train(lambda: small, data, runner)


def gated(
    path: Path, stored: dict[str, Any], model: str, data: Data, validate: int | None
) -> nn.Module:
    """The network that was stored in ``path``, with gates. Raises UserError for one of another
    model or data set, and for one that was trained on images which are now held out."""
    if (stored["model"], stored["dataset"]) != (model, data.name):
        raise UserError(
            f"{path}: a {stored['model']} of {stored['dataset']}, not a {model} of {data.name}"
        )
    if (trained := pixels_in(shape_in(stored))) != (now := pixels_in(data.shape)):
        other = "--image-size" if stored.get("channels", COLOURS) == data.channels else "--channels"
        raise UserError(
            f"{path}: trained on images of {trained} pixels, not of {now}; leave {other} out, or "
            "train another base network"
        )
    if (held := stored.get("begun_with", {}).get("validate")) != validate and validate:
        raise UserError(
            f"{path}: trained with --validate {held}, not {validate}: it may have seen the "
            "images held out; give that, or "
            "train it again"
        )
    expect_enough(stored, data.shape)
    network = build_model(model, stored["filters"], gated=True, **data.shape)
    missing = network.load_state_dict(stored["network"], strict=False)
    gates = {
        f"{name}.weight"
        for name, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, GateLayer)
    }
    idle, constants = (
        unlike_the_graph(network, model, data) if is_imported(model) else (set(), set())
    )
    if not constants >= set(missing.unexpected_keys) or not gates | idle >= set(
        missing.missing_keys
    ):
        raise KeyError("weights")
    return network


def unlike_the_graph(network: nn.Module, model: str, data: Data) -> tuple[set[str], set[str]]:
    """What a network has beside what its outputs follow from, and the plain tensors among its
    attributes: earlier versions, which ran its graph, did not store the former, and the latter as
    buffers."""
    live = imported(model).blueprint(**data.shape).reading.live_paths()
    plain = {
        f"{name}.{key}".lstrip(".")
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return network.state_dict().keys() - live, plain
