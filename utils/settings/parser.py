"""Command lines, made from the fields of the settings classes. Without torch: --help and a mistyped
option answer at once."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, NoReturn

from model import MODELS, is_imported
from model.names import with_arguments
from utils.errors import UserError
from utils.settings.fields import FieldSpec, Settings, field_specs, flag
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
        for spec in field_specs(type(defaults)):
            if (
                not (only is None or spec.name in only)
                or flag(spec.name) in self._option_string_actions
            ):
                continue

            self.add_field(spec, defaults, helps.get(spec.name, spec.meta["help"]))
            if spec.name == "model":
                self.add_argument(
                    "--model-args",
                    nargs="+",
                    metavar="KEY=VALUE",
                    default=argparse.SUPPRESS,
                    help=ARGUMENTS_HELP,
                )

    def add_field(self, spec: FieldSpec, defaults: Settings, help: str) -> None:
        """Add an option for a field, with this line of help."""
        default, text = getattr(defaults, spec.name), help
        choices, kind = spec.meta.get("choices"), spec.parse
        if spec.name == "model":
            default, kind = next(iter(self.models)), self.model

        # the line of help, with the default
        shown = spec.meta.get("shown") or default
        if "default" not in text and not (
            shown is None or isinstance(shown, bool) or spec.meta.get("required")
        ):
            text = f"{text} (default: {shown})"

        arguments: dict[str, Any] = {
            "help": text,
            "default": argparse.SUPPRESS,
            "dest": spec.name,
        }
        # the subject, on which everything else depends, is always given
        if spec.name in ("model", "dataset"):
            arguments["default"] = default
        # a switch that is True by default, or as the data set has it, is turned off
        if spec.kind is bool:
            on = default is False
            self.add_argument(
                flag(spec.name) if on else f"--no-{spec.name}",
                action="store_const",
                const=on,
                **arguments,
            )
        else:
            self.add_argument(
                flag(spec.name),
                type=kind,
                metavar=spec.meta.get("metavar"),
                nargs="+" if spec.many else None,
                choices=choices,
                required=spec.meta.get("required", False),
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

    def parse_settings(self, *defaults: Settings) -> tuple[Any, ...]:
        """Add missing options for the fields of ``defaults``, and read the command line.

        Returns what was given, by the names of fields and of the script's own options, and settings
        for each of ``defaults``.
        """
        for part in defaults:
            self.add_fields(part)
        given = self.given()
        return given, *(part.with_overrides(given) for part in defaults)

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


class RunArguments(NamedTuple):
    """The settings of a script that trains."""

    settings: Any  # SearchSettings, or TrainingSettings
    networks: Any  # Networks, or whatever says what is trained; None of a search
    storage: Storage
    machine: Machine


def run_arguments(
    description: str | None,
    settings_preset: Callable[[str], Settings],
    networks_preset: Callable[[str], Settings] | None = None,
    *,
    dataset: str = "CIFAR10",
    models: Collection[str] = MODELS,
    machine: Sequence[str] = ("device", "compile"),
    **helps: str,
) -> RunArguments:
    """Return the settings for the command line of a script that trains: those of the presets, with
    what was given.

    A preset is a function of the data set. NAME_X makes X the seed. Raises UserError.
    """
    p = Parser(description, models=models)
    presets = [settings_preset, *([networks_preset] if networks_preset else [])]
    for preset in presets:
        p.add_fields(preset(dataset), **helps)
    p.add_fields(Machine(), only=machine)
    p.add_fields(Storage(save="NAME"))

    given = p.given()
    given.setdefault("seed", seed_of(given["save"]))
    settings, *networks = [preset(given["dataset"]).with_overrides(given) for preset in presets]
    return RunArguments(
        settings,
        networks[0] if networks else None,
        Storage(save=given["save"]).with_overrides(given),
        Machine().with_overrides(given),
    )
