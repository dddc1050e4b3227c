"""The two halves of the magnitude baseline: train the base network; prune it and fine-tune it."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model import COLOURS, build_model, is_imported, pixels_in, uniform_filters
from model.gate import GateLayer, gates_of
from model.graph.user_network import imported
from utils.data import Data
from utils.data.channels import checked_channels
from utils.errors import UserError
from utils.records.files import read_tensors
from utils.records.method import Method
from utils.records.methods import refuse_impossible
from utils.records.networks import expect_enough
from utils.records.paths import at_size, weights_file
from utils.records.results import Result
from utils.records.run import load_checked
from utils.records.shapes import shape_in
from utils.records.sizes import budget_asked, size_asked, size_options
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
from utils.settings.commands import after_base, after_training, tell_next
from utils.training.compare import check_training
from utils.training.magnitude import compactor_of, largest_filters, prune, pruned_widths
from utils.training.prepare import check_memory, prepare
from utils.training.train import TrainingRun

AGAIN = "train it again with train_norm.py"
SAME_OUTPUTS = 1e-3  # relative; masking and removing differ by the rounding of float32


def train_base(
    settings: TrainingSettings,
    network: BaseNetwork,
    storage: Storage,
    machine: Machine | None = None,
) -> Result:
    """Train the base network of the magnitude baseline, the template scaled uniformly.

    Raises UserError.
    """
    ratio = network.ratio
    channels = checked_channels(
        settings.model,
        settings.dataset,
        ratio,
        image_size=settings.image_size,
        channels=settings.channels,
    )

    run = TrainingRun(settings, training_preset(settings.dataset), storage, ratio, storage.save)
    with run.exclusive():
        data, runner = prepare(
            settings,
            storage,
            machine,
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
        result = run.train(
            partial(build_model, settings.model, filters, **data.shape), data, runner
        )
        tell_next(after_base(settings, storage.save, storage))
        return result


def fine_tune(
    settings: TrainingSettings,
    pruned: PrunedNetwork,
    storage: Storage,
    machine: Machine | None = None,
) -> Result:
    """Prune a base network to the budget of a uniform scaling, or to a target, and train it
    further.

    Raises UserError.
    """
    size = size_asked(pruned, budget_asked(pruned))
    path = weights_file(storage.model_dir, settings.model, pruned.prune_fname)
    stored = read_tensors(path)
    shape = load_checked(path, lambda: shape_in(stored), AGAIN)
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
            default_size=pixels,
            channels=channels,
        )
        network = load_checked(
            path,
            lambda: gated(path, stored, settings.model, data, settings.validate),
            AGAIN,
        )
        network = runner.place(network)
        compare = storage.overwrite or not run.result.exists()
        small = prune_base(path, stored["filters"], network, pruned, data, run, compare=compare)

        run.base_filters = stored["filters"]
        if storage.overwrite:
            run.discard()
        result = run.train(lambda: small, data, runner)
        tell_next(after_training(settings, storage.save, size_options(size), storage))
        return result


def prune_base(
    path: Path,
    filters: list[int],
    network: nn.Module,
    pruned: PrunedNetwork,
    data: Data,
    run: TrainingRun,
    *,
    compare: bool,
) -> nn.Module:
    """Return the base network of these ``filters``, stored in ``path``, without its smallest ones.

    Describes the training to ``run``, and prints what was removed. With ``compare``, a training
    step is compared with one of a user's own code first. Raises UserError.
    """
    model = run.settings.model
    method = Method(
        "magnitude",
        model,
        budget=budget_asked(pruned),
        min_width=least_width(model, pruned.min_width),
        keep=pruned.keep,
    )
    widths = pruned_widths(
        model,
        run.size,
        filters,
        budget=method.budget,
        min_width=method.min_width,
        keep=method.keep,
        **data.shape,
    )
    if compare:
        check_training(model, data.shape, gated=True)

    # the filters to keep are part of what is trained
    compactor = compactor_of(model, network, **data.shape)
    kept = largest_filters(compactor, widths)
    described = run.describe(
        method,
        widths,
        data,
        base=pruned.prune_fname,
        kept=[mask.nonzero().flatten().tolist() for mask in kept],
    )

    small, difference = prune(compactor, kept, pixels_in(data.shape))
    if difference is not None and not difference < SAME_OUTPUTS:
        raise UserError(
            f"{path}: removing the pruned filters changed the outputs by {difference:.1e}, "
            "relative to the largest; are its weights finite?"
        )

    print(
        f"pruned {sum(filters) - sum(widths)} of {sum(filters)} filters by L1 norm: "
        f"{' '.join(map(str, widths))}\n"
        f"  {method.costs_line(described)}; {described_cut(small, difference)}",
        flush=True,
    )
    return small


def described_cut(small: nn.Module, difference: float | None) -> str:
    """Return the size of a network that was cut down, and how far its outputs have changed."""
    gates = sum(gate.weight.numel() for gate in gates_of(small))
    physical = sum(parameter.numel() for parameter in small.parameters()) - gates
    outputs = (
        "its outputs are others: norms now take their means over fewer filters"
        if difference is None
        else f"its outputs differ by {difference:.1e}"
    )
    return f"rebuilt small ({physical:,} parameters), {outputs}"


def gated(
    path: Path, stored: dict[str, Any], model: str, data: Data, validate: int | None
) -> nn.Module:
    """Return the network that was stored in ``path``, with gates.

    Raises UserError for a network of another model or data set, and for one trained on images that
    are now held out.
    """
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
            f"{path}: trained with --validate {held}, not {validate}: it may have seen the images "
            "held out; give that, or train it again"
        )

    expect_enough(stored, data.shape)
    network = build_model(model, stored["filters"], gated=True, **data.shape)
    missing = network.load_state_dict(stored["network"], strict=False)

    # gates are not stored; earlier versions stored other tensors of users' networks
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
    """Return a network's tensors on which its outputs don't depend, and the plain tensors among its
    attributes.

    Earlier versions, which ran its graph, did not store the former, and stored the latter as
    buffers.
    """
    live = imported(model).blueprint(**data.shape).reading.live_paths()
    plain = {
        f"{name}.{key}".lstrip(".")
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return network.state_dict().keys() - live, plain
