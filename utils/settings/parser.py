"""Command lines, made from the fields of the settings classes. Imports no torch: --help and a
mistyped option answer at once."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from model import MODELS, is_imported
from model.names import with_arguments
from utils.errors import UserError
from utils.settings.option import Settings, flag, rules
from utils.settings.storage import Storage, seed_of
from utils.settings.work import Machine, check_model

ARGUMENTS_HELP = (
    "what the function of --model is given beside num_classes: numbers, True, False, None, "
    "texts, tuples, as in depth=3 "
    "widths=(32,64) act=relu; part of the network's name from then on, "
    "FILE.py:FUNCTION(act='relu',depth=3,widths=(32,64))"
)


class Parser(argparse.ArgumentParser):
    """argparse where - and _ are the same in option names, help shows true defaults, and an error
    is one line."""

    def __init__(self, description: str | None, *, models: Collection[str] = MODELS):
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=30, width=110
            ),
        )
        self.models = models

    def add(self, name: str, help: str, **arguments: Any) -> None:
        """An option of this script's own."""
        default = arguments.get("default")
        if default not in (None, False) and "%(default)s" not in help:
            help = f"{help} (default: %(default)s)"
        self.add_argument(name, help=help, **arguments)

    def add_fields(
        self, defaults: Settings, *, only: Sequence[str] | None = None, **helps: str
    ) -> None:
        """An option for each field of a settings class (``only`` some), with ``defaults`` shown;
        ``helps`` in place of their own."""
        for rule in rules(type(defaults)):
            if (
                rule.meta["hidden"]
                or not (only is None or rule.name in only)
                or flag(rule.name) in self._option_string_actions
            ):
                continue
            default, text = getattr(defaults, rule.name), helps.get(rule.name, rule.meta["help"])
            choices, kind = rule.meta.get("choices"), rule.parse
            if rule.name == "model":
                default, kind = next(iter(self.models)), self.model
            shown = rule.meta.get("shown") or default
            if "default" not in text and not (
                shown is None or isinstance(shown, bool) or rule.meta.get("required")
            ):
                text = f"{text} (default: {shown})"
            arguments: dict[str, Any] = {
                "help": text,
                "default": argparse.SUPPRESS,
                "dest": rule.name,
            }
            if rule.name in ("model", "dataset"):  # what everything else depends on is always given
                arguments["default"] = default
            # one that is True by default, or as the data set has it, is switched off
            if rule.kind is bool:
                on = default is False
                self.add_argument(
                    flag(rule.name) if on else f"--no-{rule.name}",
                    action="store_const",
                    const=on,
                    **arguments,
                )
            else:
                self.add_argument(
                    flag(rule.name),
                    type=kind,
                    metavar=rule.meta.get("metavar"),
                    nargs="+" if rule.many else None,
                    choices=choices,
                    required=rule.meta.get("required", False),
                    **arguments,
                )
            if rule.name == "model":
                self.add_argument(
                    "--model-args",
                    nargs="+",
                    metavar="KEY=VALUE",
                    default=argparse.SUPPRESS,
                    help=ARGUMENTS_HELP,
                )

    def model(self, text: str) -> str:
        """An argparse type: a network that this script takes."""
        try:
            if (name := check_model(text)) in MODELS and name not in self.models:
                raise UserError(
                    f"{name!r} is none of {', '.join(self.models)}, nor MODULE:FUNCTION or "
                    "FILE.py:FUNCTION"
                )
            return name
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def settled(self, *defaults: Settings) -> tuple[Any, ...]:
        """Adds the fields of ``defaults`` that have no option yet. What was given of this script's
        own options, and settings for each of ``defaults``."""
        for part in defaults:
            self.add_fields(part)
        given = self.given()
        return given, *(part.settled(given) for part in defaults)

    def given(self) -> dict[str, Any]:
        """What was given on the command line, by the names of the fields; of this script's own
        options, the defaults too."""
        arguments = [
            re.sub(r"^--[\w-]+", lambda m: m[0].replace("_", "-"), argument)
            for argument in sys.argv[1:]
        ]
        given = vars(self.parse_args(arguments))
        if texts := given.pop("model_args", ()):
            try:
                given["model"] = with_arguments(given["model"], texts)
            except ValueError as error:
                hint = (
                    ""
                    if is_imported(given["model"])
                    else "; they go with --model MODULE:FUNCTION or FILE.py:FUNCTION"
                )
                self.error(f"argument --model-args: {error}{hint}")
        return given

    def error(self, message: str) -> NoReturn:
        print(
            " ".join(f"{self.prog}: error: {message} (see {self.prog} --help)".split()),
            file=sys.stderr,
        )
        raise SystemExit(2)


def run_arguments(
    description: str | None,
    *presets: Callable[[str], Settings],
    dataset: str = "CIFAR10",
    models: Collection[str] = MODELS,
    machine: Sequence[str] = ("device", "compile"),
    **helps: str,
) -> tuple[Any, ...]:
    """What the command line of a script that trains asks for: settings for each of ``presets``,
    with what was given in place of theirs; Storage; Machine. A preset is a function of the data
    set.

    NAME_X makes X the seed. Raises UserError.
    """
    p = Parser(description, models=models)
    for preset in presets:
        p.add_fields(preset(dataset), **helps)
    p.add_fields(Machine(), only=machine)
    p.add_fields(Storage(save="NAME"))
    given = p.given()
    given.setdefault("seed", seed_of(given["save"]))
    settings = [
        *(preset(given["dataset"]) for preset in presets),
        Storage(save=given["save"]),
        Machine(),
    ]
    return tuple(part.settled(given) for part in settings)
