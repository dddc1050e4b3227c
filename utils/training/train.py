"""One training: a network is trained, from scratch or from where it was, and tested after each
epoch (paper, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from model import COLOURS, count_macs, count_params
from utils.data import Batches, Data, evaluation_batches, training_batches
from utils.errors import Diverged
from utils.records import paths
from utils.records.files import write_json, write_tensors
from utils.records.method import Method
from utils.records.results import (
    SUBJECT,
    Origin,
    Result,
    identity_of,
    read_result,
    refuse_other,
    unsaid,
)
from utils.records.run import Run, provenance
from utils.records.shapes import recorded
from utils.settings import Limit, Size, Storage, TrainingSettings, stored
from utils.training.device import Runner, seed_from
from utils.training.loop import KEPT, State, evaluate, fit, sgd
from utils.training.schedule import training_lr

CURVE = ("train_loss", "train_acc", "test_loss", "test_acc")
VALIDATED = ("val_loss", "val_acc")  # with images held out


@dataclass
class Training(State):
    """A network in training, with its curve so far.

    The curve has the loss and the accuracy in % of each epoch, in training, in test, and on images
    held out.
    """

    curve: dict[str, list[float]] = field(kw_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the curve."""
        return {**super().state_dict(), "curve": self.curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state, with the curve."""
        curve = {key: list(map(float, state["curve"][key])) for key in self.curve}
        super().load_state_dict({"epoch": len(curve["test_acc"]), **state})
        self.curve = curve
        print(f"goes on at epoch {self.epoch}", flush=True)


def train(
    settings: TrainingSettings,
    build: Callable[[], nn.Module],
    data: Data,
    runner: Runner,
    run: TrainingRun | None = None,
    title: str = "",
    begin: Callable[..., Training] = Training,
) -> Training:
    """Train the network that ``build`` makes. ``begin`` makes the state of the training.

    With a ``run``, training continues from its checkpoint, and each epoch ends with one. Raises
    Diverged if a number is not finite, and UserError for a checkpoint that can't be continued.
    """
    torch.manual_seed(seed_from(settings.seed))
    network = runner.place(build())

    # from its checkpoint, if there is one
    keys = (*CURVE, *VALIDATED * (data.validation is not None))
    state = begin(
        network,
        sgd(network, settings.lr, settings.momentum, settings.weight_decay),
        runner.compiled(network),
        curve={key: [] for key in keys},
    )
    if run:
        run.restore(state.load_state_dict)

    # tested after each epoch, on both splits if images are held out
    looked_at: dict[str, Batches] = {"test": evaluation_batches(data)}
    if data.validation:
        looked_at["validation"] = evaluation_batches(data, split=data.validation)

    def test(loss: float, accuracy: float) -> None:
        found = [loss, accuracy]
        for name, split in looked_at.items():
            found += evaluate(state.forward, split, runner)
            if not math.isfinite(found[-2]):
                raise Diverged(
                    f"the loss of the {name} images is not a finite number after epoch "
                    f"{state.epoch}, batch {len(batches) - 1} {KEPT}"
                )
            print(f"  {name}: loss {found[-2]:.4f}, accuracy {found[-1]:.2f} %", flush=True)
        for key, number in zip(keys, found):
            state.curve[key].append(number)

    batches = training_batches(data, settings.batch_size)
    fit(
        state,
        batches,
        runner,
        epochs=settings.epochs,
        seeds=(settings.seed, 0),
        title=title,
        after_epoch=test,
        lr_at=lambda epoch: training_lr(epoch, settings.epochs, settings.milestones, settings.lr),
        checkpoint=lambda: run.save(state.state_dict()) if run else None,
    )
    return state


class TrainingRun(Run):
    """One training under its name: its result, its weights, its checkpoint.

    ``name`` is that of the weights and the checkpoint.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        defaults: TrainingSettings,
        storage: Storage,
        size: Size,
        name: str,
    ):
        self.settings, self.name, self.size = settings, name, size
        self.origin: Origin | None = None
        # for a network that was cut down: the widths of the network that its weights fit into
        self.base_filters: list[int] | None = None

        folder = storage.model_dir, settings.model, name
        self.weights_path = paths.weights_file(*folder)
        super().__init__(
            paths.result_file(storage.plot_dir, settings.model, storage.save, size),
            paths.unfinished_training(*folder),
            self.weights_path,
            resume=storage.resume,
            defaults=unsaid(defaults),
        )

    def describe(self, method: Method, filters: list[int], data: Data, **more: Any) -> Result:
        """Describe what is to be trained; earlier work under this name is compared with the
        description.

        Returns the network's part of it.
        """
        ratio = method.ratio(self.size, **data.shape)
        target = str(self.size.target) if isinstance(self.size, Limit) else None
        network: Result = {
            "model": self.settings.model,
            "dataset": data.name,
            **recorded(data.shape),
            "method": method.name,
            "ratio": ratio,
            **({"target": target} if target else {}),
            "convcut": method.convcut,
            "budget": method.budget,
            "round_to": method.round_to,
            "min_width": method.min_width,
            "keep": list(method.keep),
            "filters": filters,
            "params": count_params(
                self.settings.model, filters, convcut=method.convcut, **data.shape
            ),
            "macs": count_macs(self.settings.model, filters, convcut=method.convcut, **data.shape),
        }

        self.origin = method.origin
        self.begun_with = {
            **network,
            **more,
            **identity_of(
                self.settings,
                method.name,
                ratio,
                target=target,
                convcut=method.convcut,
                budget=method.budget,
                round_to=method.round_to,
                min_width=method.min_width,
                keep=method.keep,
            ),
            **data.counts,
        }
        return network

    def finished(self) -> Result | None:
        """Return the result, if this training is finished. Raises UserError where other work is in
        its place."""
        if self.result.exists():
            found = read_result(self.result)
            asked_for = {"channels": COLOURS, **self.begun_with}
            refuse_other(self.result, found, asked_for, self.defaults)
            self.forget_own_checkpoint()
            print(f"{self.result}: finished before, with these settings; skipped")
            return found
        self.refuse_others_weights()
        return None

    def outcome(self, state: Training) -> dict[str, Any]:
        """Return what a result says of the network that is not known before it is trained."""
        return {}

    def beside_weights(self, state: Training) -> dict[str, Any]:
        """Return what is stored with the weights, beside the filters, to load them."""
        return {"base_filters": self.base_filters} if self.base_filters else {}

    def train(
        self,
        build: Callable[[], nn.Module],
        data: Data,
        runner: Runner,
        begin: Callable[..., Training] = Training,
    ) -> Result:
        """Return the result of training what ``build`` makes.

        It is stored already, or is trained now, from where it was interrupted if it was. ``begin``
        makes the state of the training.
        """
        if found := self.finished():
            return found

        state = train(self.settings, build, data, runner, self, f"{self.name}, ", begin)
        described = {**self.begun_with, **self.outcome(state)}
        write_tensors(
            self.weights_path,
            {
                **{
                    key: described[key]
                    for key in (
                        "model",
                        "dataset",
                        "num_classes",
                        "image_size",
                        "channels",
                        "convcut",
                        "filters",
                    )
                    if key in described
                },
                **self.beside_weights(state),
                **data.facts,
                "begun_with": self.begun_with,
                "network": state.network.state_dict(),
            },
        )

        result = {
            **described,
            "origin": self.origin,
            **state.curve,
            "best": max(state.curve["test_acc"]),
            "last": state.curve["test_acc"][-1],
            "seconds": round(state.seconds, 1),
            "settings": stored(self.settings, SUBJECT),
            **provenance(runner.device),
        }
        write_json(self.result, result)
        self.checkpoint.unlink(missing_ok=True)

        print(
            f"  best {result['best']:.2f} %, last {result['last']:.2f} %: {self.result}", flush=True
        )
        return read_result(self.result)
