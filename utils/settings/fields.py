"""Settings: fields of frozen dataclasses, each with its default, its bounds and its line of help in
one place.

The command line, the checks of callers from Python, and the contents and comparison of records are
all made from the fields.
"""

import argparse
import dataclasses
import numbers
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from model.images import pixels_of
from utils.errors import UserError

WHOLE = 10**9  # the largest whole number of any setting
KINDS: dict[type, tuple[Any, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
    str: ((str, os.PathLike), "a text"),
}


def setting(
    default: Any,
    help: str,
    low: float = 0,
    high: float = WHOLE,
    *,
    above: bool = False,
    **more: Any,
) -> Any:
    """Return a field of a settings class, a number from ``low`` (beyond it, if ``above``) to
    ``high``.

    ``more`` may have ``choices`` and ``check`` (text -> text, raises UserError) for a text;
    ``metavar`` on the command line; ``shown`` for the default in --help; ``recorded`` (settings ->
    value) for the value in a record, if it depends on other settings; ``sides`` for a number of
    pixels that may be two, height and width. A field that is not ``kept`` is in no record, and one
    that is ``kept_if_given`` in none if it is None.
    """
    return dataclasses.field(
        default=default,
        metadata={"help": help, "low": low, "high": high, "above": above, **more},
    )


@dataclass(frozen=True)
class FieldSpec:
    """The name of a field, and the values that it may have."""

    name: str
    kind: type  # int, float, bool or str
    optional: bool  # True if it may be None
    many: bool  # True for a tuple of values
    meta: Mapping[str, Any]

    def checked(self, value: Any) -> Any:
        """Return ``value``, with lists as tuples, and whole numbers as floats where floats belong.

        Raises UserError.
        """
        if self.optional and value is None:
            return None
        if self.many:
            if not isinstance(value, (list, tuple)):
                raise UserError(f"{value!r} is not a list")
            return tuple(self._checked(part) for part in value)
        return self._checked(value)

    def _checked(self, value: Any) -> Any:
        """Return a single value. Raises UserError."""
        if "sides" in self.meta and isinstance(value, (list, tuple)):
            if len(value) != 2 or any(isinstance(side, (list, tuple)) for side in value):
                raise UserError(f"{value!r} is not a height and a width")
            return pixels_of(tuple(self._checked(side) for side in value))

        kind, words = KINDS[self.kind]
        if not isinstance(value, kind) or (isinstance(value, bool) and self.kind is not bool):
            raise UserError(f"{value!r} is not {words}")
        if self.kind in (int, float):
            low, high, above = (self.meta[key] for key in ("low", "high", "above"))
            if not low <= value <= high or (above and value == low):
                raise UserError(
                    f"{value} is not "
                    + (
                        f"above {low:g} and at most {high:g}"
                        if above
                        else f"between {low:g} and {high:g}"
                    )
                )
        # numpy's numbers become Python's
        value = os.fspath(value) if isinstance(value, os.PathLike) else self.kind(value)
        if self.kind is str and ("\0" in value or value != value.encode(errors="replace").decode()):
            raise UserError(
                f"{value!a} has characters that no file can be named with, or that are not UTF-8"
            )

        if "choices" in self.meta and value not in self.meta["choices"]:
            raise UserError(f"{value!r} is none of {', '.join(map(str, self.meta['choices']))}")
        return self.meta["check"](value) if "check" in self.meta else value

    def checked_text(self, text: str) -> Any:
        """Return the value of ``text``. Raises UserError."""
        try:
            if "sides" in self.meta and "x" in text:
                return self._checked([self.kind(side) for side in text.split("x")])
            return self._checked(self.kind(text))
        except ValueError:
            sides = ", nor height x width, as in 48x96" * ("sides" in self.meta)
            whole = "whole " * (self.kind is int)
            raise UserError(f"{text!r} is not a {whole}number{sides}") from None

    def parse(self, text: str) -> Any:
        """Return the value of ``text``, as an argparse type."""
        try:
            return self.checked_text(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


S = TypeVar("S", bound="Settings")


class Settings:
    """The base of the settings classes, which are frozen dataclasses.

    Raises UserError for a value out of bounds.
    """

    def __post_init__(self) -> None:
        """Check all fields. Raises UserError."""
        for spec in field_specs(type(self)):
            try:
                object.__setattr__(self, spec.name, spec.checked(getattr(self, spec.name)))
            except UserError as error:
                raise UserError(f"{flag(spec.name)}: {error}") from None

    def with_overrides(self: S, given: Mapping[str, Any]) -> S:
        """Return these settings with those ``given`` by the names of fields; other names are
        ignored."""
        fields = {
            spec.name: given[spec.name] for spec in field_specs(type(self)) if spec.name in given
        }
        # every settings class is a dataclass
        return dataclasses.replace(self, **fields)  # type: ignore[type-var]


FIELD_SPECS: dict[type[Settings], list[FieldSpec]] = {}


def field_specs(kind: type[Settings]) -> list[FieldSpec]:
    """Return the specs of a settings class's fields."""
    if kind not in FIELD_SPECS:  # once, for type hints are slow
        FIELD_SPECS[kind] = _made_specs(kind)
    return FIELD_SPECS[kind]


def _made_specs(kind: type[Settings]) -> list[FieldSpec]:
    """Make the specs of a settings class's fields."""
    found, hints = [], get_type_hints(kind)
    # every settings class is a dataclass
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        optional = type(None) in get_args(hint)
        hint = next(part for part in get_args(hint) if part is not type(None)) if optional else hint
        many = get_origin(hint) is tuple
        found.append(
            FieldSpec(
                field.name, get_args(hint)[0] if many else hint, optional, many, field.metadata
            )
        )
    return found


def flag(name: str) -> str:
    """Return the option of the command line for the field ``name``."""
    return f"--{name.replace('_', '-')}"


def assigned(
    defaults: Settings | tuple[Settings, ...], texts: Iterable[str], without: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the fields of ``defaults``, of one class or of several, that KEY=VALUE ... set, by
    their names.

    KEY is an option without its dashes. A switch has no VALUE; an option of several values has them
    separated by commas. Raises UserError for an unknown option, for one in ``without``, and for a
    value out of bounds.
    """
    options = {
        option_of(spec, part)[2:]: (spec, part)
        for part in (defaults if isinstance(defaults, tuple) else (defaults,))
        for spec in field_specs(type(part))
        if spec.name not in without
    }

    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        spec, part = options.get(key.replace("_", "-"), (None, None))
        if spec is None or (spec.kind is bool) == bool(equals):
            raise UserError(
                f"{text}: must be KEY=VALUE, or a switch alone, of {', '.join(sorted(options))}"
            )
        try:
            if spec.kind is bool:
                given[spec.name] = not getattr(part, spec.name)
            else:
                given[spec.name] = (
                    tuple(map(spec.checked_text, value.split(",")))
                    if spec.many
                    else spec.checked_text(value)
                )
        except UserError as error:
            raise UserError(f"{text}: {error}") from None
    return given


def command_options(
    settings: Settings, defaults: Settings, without: Iterable[str] = ()
) -> list[str]:
    """Return the options of a command line that turn ``defaults`` into ``settings``."""
    found = []
    for spec in field_specs(type(settings)):
        value = getattr(settings, spec.name)
        if (
            value != getattr(defaults, spec.name)
            and spec.meta.get("kept", True)
            and spec.name not in without
        ):
            values = [] if spec.kind is bool else value if spec.many else [value]
            found += [option_of(spec, defaults), *map(shortest, values)]
    return found


def option_of(spec: FieldSpec, defaults: Settings) -> str:
    """Return the option that sets a field; for a switch that is on, the one that turns it off."""
    return (
        flag(f"no_{spec.name}")
        if spec.kind is bool and getattr(defaults, spec.name)
        else flag(spec.name)
    )


def shortest(value: Any) -> str:
    """Return a number or a text as it is typed: 0.25, 1, 1e-05."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def stored(settings: Settings, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the contents of ``settings`` for a record: plain values, tuples as lists."""
    kept = [
        spec
        for spec in field_specs(type(settings))
        if spec.name not in without and spec.meta.get("kept", True)
        if not (spec.meta.get("kept_if_given") and getattr(settings, spec.name) is None)
    ]

    values = {
        spec.name: spec.meta["recorded"](settings)
        if "recorded" in spec.meta
        else getattr(settings, spec.name)
        for spec in kept
    }

    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
