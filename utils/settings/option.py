"""What a setting is: a field of a frozen dataclass, with its default, its bounds and its line of
help in one place.

The command line, the checks of callers from Python, and what records store and compare are all made
from the fields.
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

WHOLE = 10**9  # the largest whole number that any setting takes
KINDS: dict[type, tuple[Any, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
    str: ((str, os.PathLike), "a text"),
}


def option(
    default: Any,
    help: str,
    low: float = 0,
    high: float = WHOLE,
    *,
    above: bool = False,
    hidden: bool = False,
    **more: Any,
) -> Any:
    """A field of a settings class. A number lies between ``low`` (beyond it, where ``above``) and
    ``high``.

    ``more``: ``choices`` and ``check`` (text -> text, raises UserError) for a text; ``metavar`` on
    the command line; ``shown`` for the default as --help says it; ``settled`` (settings -> value)
    for what a record keeps of it where it depends on others; ``sides`` for a number of pixels that
    may be two, height and width. A ``hidden`` field is no option of the command line; one that is
    not ``kept`` is in no record, and one that is ``kept_if_given`` in none where it is None.
    """
    return dataclasses.field(
        default=default,
        metadata={"help": help, "low": low, "high": high, "above": above, "hidden": hidden, **more},
    )


@dataclass(frozen=True)
class Rule:
    """What values a field takes."""

    name: str
    kind: type  # int, float, bool or str
    optional: bool  # None is a value too
    many: bool  # a tuple of them
    meta: Mapping[str, Any]

    def checked(self, value: Any) -> Any:
        """``value``, with lists as tuples and whole numbers as floats where floats are asked for.
        Raises UserError."""
        if self.optional and value is None:
            return None
        if self.many:
            if not isinstance(value, (list, tuple)):
                raise UserError(f"{value!r} is not a list")
            return tuple(self._checked(part) for part in value)
        return self._checked(value)

    def _checked(self, value: Any) -> Any:
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
        # of numpy's numbers, Python's own
        value = os.fspath(value) if isinstance(value, os.PathLike) else self.kind(value)
        if self.kind is str and ("\0" in value or value != value.encode(errors="replace").decode()):
            raise UserError(
                f"{value!a} has characters that no file can be named with, or that are not UTF-8"
            )
        if "choices" in self.meta and value not in self.meta["choices"]:
            raise UserError(f"{value!r} is none of {', '.join(map(str, self.meta['choices']))}")
        return self.meta["check"](value) if "check" in self.meta else value

    def checked_text(self, text: str) -> Any:
        """The value that ``text`` says. Raises UserError."""
        try:
            if "sides" in self.meta and "x" in text:
                return self._checked([self.kind(side) for side in text.split("x")])
            return self._checked(self.kind(text))
        except ValueError:
            sides = ", nor height x width, as in 48x96" * ("sides" in self.meta)
            whole = "whole " * (self.kind is int)
            raise UserError(f"{text!r} is not a {whole}number{sides}") from None

    def parse(self, text: str) -> Any:
        """An argparse type."""
        try:
            return self.checked_text(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


S = TypeVar("S", bound="Settings")


class Settings:
    """The base of the settings classes, which are frozen dataclasses. Raises UserError for a value
    out of bounds."""

    def __post_init__(self) -> None:
        for rule in rules(type(self)):
            try:
                object.__setattr__(self, rule.name, rule.checked(getattr(self, rule.name)))
            except UserError as error:
                raise UserError(f"{flag(rule.name)}: {error}") from None

    def settled(self: S, given: Mapping[str, Any]) -> S:
        """These settings, with those ``given`` by the names of fields in place of them; other names
        are left alone."""
        fields = {rule.name: given[rule.name] for rule in rules(type(self)) if rule.name in given}
        # every settings class is a dataclass
        return dataclasses.replace(self, **fields)  # type: ignore[type-var]


RULES: dict[type[Settings], list[Rule]] = {}


def rules(kind: type[Settings]) -> list[Rule]:
    """The rule of each field of a settings class."""
    if kind not in RULES:  # once: to ask for hints is slow
        RULES[kind] = _rules(kind)
    return RULES[kind]


def _rules(kind: type[Settings]) -> list[Rule]:
    found, hints = [], get_type_hints(kind)
    # every settings class is a dataclass
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        optional = type(None) in get_args(hint)
        hint = next(part for part in get_args(hint) if part is not type(None)) if optional else hint
        many = get_origin(hint) is tuple
        found.append(
            Rule(field.name, get_args(hint)[0] if many else hint, optional, many, field.metadata)
        )
    return found


def flag(name: str) -> str:
    """The option of the command line that sets the field ``name``."""
    return f"--{name.replace('_', '-')}"


def assigned(
    defaults: Settings, texts: Iterable[str], without: Iterable[str] = ()
) -> dict[str, Any]:
    """What KEY=VALUE ... say of the fields of ``defaults``, by their names. KEY is an option
    without its dashes; a switch has no VALUE, an option of several values has them with commas
    between.

    Raises UserError for one that is no option, or is ``without``, and for a value out of bounds.
    """
    options = {
        typed(rule, defaults)[2:]: rule
        for rule in rules(type(defaults))
        if not rule.meta["hidden"] and rule.name not in without
    }
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        rule = options.get(key.replace("_", "-"))
        if rule is None or (rule.kind is bool) == bool(equals):
            raise UserError(
                f"{text}: must be KEY=VALUE, or a switch alone, of {', '.join(sorted(options))}"
            )
        try:
            if rule.kind is bool:
                given[rule.name] = not getattr(defaults, rule.name)
            else:
                given[rule.name] = (
                    tuple(map(rule.checked_text, value.split(",")))
                    if rule.many
                    else rule.checked_text(value)
                )
        except UserError as error:
            raise UserError(f"{text}: {error}") from None
    return given


def arguments(settings: Settings, defaults: Settings, without: Iterable[str] = ()) -> list[str]:
    """The options of a command line that make ``settings`` of ``defaults``."""
    found = []
    for rule in rules(type(settings)):
        value = getattr(settings, rule.name)
        if (
            value != getattr(defaults, rule.name)
            and rule.meta.get("kept", True)
            and not (rule.meta["hidden"] or rule.name in without)
        ):
            values = [] if rule.kind is bool else value if rule.many else [value]
            found += [typed(rule, defaults), *map(shortest, values)]
    return found


def typed(rule: Rule, defaults: Settings) -> str:
    """The option that sets a field; of a switch that is on, the one that turns it off."""
    return (
        flag(f"no_{rule.name}")
        if rule.kind is bool and getattr(defaults, rule.name)
        else flag(rule.name)
    )


def shortest(value: Any) -> str:
    """A number or a text as one would type it: 0.25, 1, 1e-05."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def stored(settings: Settings, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a record keeps of ``settings``: plain values, tuples as lists."""
    kept = [
        rule
        for rule in rules(type(settings))
        if rule.name not in without and rule.meta.get("kept", True)
        if not (rule.meta.get("kept_if_given") and getattr(settings, rule.name) is None)
    ]
    values = {
        rule.name: rule.meta["settled"](settings)
        if "settled" in rule.meta
        else getattr(settings, rule.name)
        for rule in kept
    }
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
