"""Command lines, made from the fields of the settings classes. Without torch: --help and a mistyped
option answer at once."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from model import MODELS, is_imported
from model.names import with_arguments
from utils.errors import UserError
from utils.settings.option import Rule, Settings, flag, rules
from utils.settings.storage import Storage, seed_of
from utils.settings.work import Machine, check_model

ARGUMENTS_HELP = (
    "what the function of --model is given beside num_classes: numbers, True, False, None, texts, "
    "tuples, as in depth=3 widths=(32,64) act=relu; part of the network's name from then on, "
    "FILE.py:FUNCTION(act='relu',depth=3,widths=(32,64))"
)


class Parser(argparse.ArgumentParser):
    """An argparse parser with equal - and _ in option names, true defaults in help, and one-line
    errors."""

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
        """Add an option of the script's own."""
        default = arguments.get("default")
        if default not in (None, False) and "%(default)s" not in help:
            help = f"{help} (default: %(default)s)"
        self.add_argument(name, help=help, **arguments)

    def add_fields(
        self, defaults: Settings, *, only: Sequence[str] | None = None, **helps: str
    ) -> None:
        """Add an option for each field of a settings class, or ``only`` some, with the ``defaults``
        in help.

        ``helps`` replace the fields' own lines of help.
        """
        for rule in rules(type(defaults)):
            if (
                not (only is None or rule.name in only)
                or flag(rule.name) in self._option_string_actions
            ):
                continue

            self.add_field(rule, defaults, helps.get(rule.name, rule.meta["help"]))
            if rule.name == "model":
                self.add_argument(
                    "--model-args",
                    nargs="+",
                    metavar="KEY=VALUE",
                    default=argparse.SUPPRESS,
                    help=ARGUMENTS_HELP,
                )

    def add_field(self, rule: Rule, defaults: Settings, help: str) -> None:
        """Add an option for a field, with this line of help."""
        default, text = getattr(defaults, rule.name), help
        choices, kind = rule.meta.get("choices"), rule.parse
        if rule.name == "model":
            default, kind = next(iter(self.models)), self.model

        # the line of help, with the default
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
        # the subject, on which everything else depends, is always given
        if rule.name in ("model", "dataset"):
            arguments["default"] = default
        # a switch that is True by default, or as the data set has it, is turned off
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

    def model(self, text: str) -> str:
        """Return a network that this script takes, as an argparse type."""
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
        """Add missing options for the fields of ``defaults``, and read the command line.

        Returns what was given, by the names of fields and of the script's own options, and settings
        for each of ``defaults``.
        """
        for part in defaults:
            self.add_fields(part)
        given = self.given()
        return given, *(part.settled(given) for part in defaults)

    def given(self) -> dict[str, Any]:
        """Return what was given on the command line, by the names of fields; for the script's own
        options with their defaults."""
        arguments = [
            re.sub(r"^--[\w-]+", lambda m: m[0].replace("_", "-"), argument)
            for argument in sys.argv[1:]
        ]

        given = vars(self.parse_args(arguments))

        # arguments of a network become part of its name
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
        """Print a line on stderr, and exit with status 2."""
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
    """Return the settings for the command line of a script that trains: those of each of
    ``presets``, with what was given, Storage and Machine.

    A preset is a function of the data set. NAME_X makes X the seed. Raises UserError.
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
