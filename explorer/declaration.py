"""What a method or a metric declares of itself: its options, once, and the paper that it comes from."""

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from explorer.errors import ExplorerError


@dataclass(frozen=True)
class Paper:
    title: str
    authors: str
    venue: str
    year: int
    link: str


Quality = Literal["quick", "standard", "paper"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)


class OptionError(ExplorerError):
    """An option out of its range; the sentence names whose it is, the option and the range."""


def option(
    default: Any,
    help: str,
    *,
    label: str,
    source: str,
    low: Any = None,
    high: Any = None,
    choices: tuple[str, ...] = (),
    quick: Any = None,
    paper: Any = None,
) -> Any:
    """Declares an option once, for the page, the command line, the docs and the cache key.

    Its type is that of the default: a switch, a number from ``low`` to ``high``, or one of ``choices``.

    Args:
        quick, paper: the value for a first look, and the one that the paper or its released code states, where they
            differ from the default.
    """
    metadata = {"label": label, "help": help, "source": source, "low": low, "high": high, "choices": choices}
    given: dict[Quality, Any] = {"quick": quick, "paper": paper}
    presets = {quality: value for quality, value in given.items() if value is not None}
    return field(default=default, metadata={**metadata, "presets": presets})


@dataclass(frozen=True)
class Declared:
    """Base of what is known by a name: a frozen dataclass whose fields are options, checked when it is made."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[Paper]

    def __post_init__(self) -> None:
        for item in fields(self):
            value, wanted = getattr(self, item.name), type(item.default)
            low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
            if wanted is float and type(value) is int:
                object.__setattr__(self, item.name, float(value))
            elif type(value) is not wanted:
                raise OptionError(
                    f"{self.name}: {item.name} must be of type {wanted.__name__}, not {value!r}."
                )
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                raise OptionError(f"{self.name}: {item.name} must lie between {low} and {high}, not {value}.")
            if choices and value not in choices:
                raise OptionError(f"{self.name}: {item.name} must be {' or '.join(choices)}, not {value!r}.")

    @classmethod
    def preset(cls, quality: Quality, **given: Any) -> Self:
        """With the budget of a quality; options that are given win."""
        return cls(**(cls.budget(quality) | given))

    @classmethod
    def budget(cls, quality: Quality) -> dict[str, Any]:
        """The options that a quality decides, and what it makes them."""
        return {
            item.name: item.metadata["presets"].get(quality, item.default)
            for item in fields(cls)
            if item.metadata["presets"]
        }

    def __str__(self) -> str:
        """The name, and the options that differ from their defaults, as ``parse`` reads them."""
        changed = [
            item.name if value is True else f"{item.name}={value}"
            for item in fields(self)
            if (value := getattr(self, item.name)) != item.default
        ]
        return ":".join([self.name, *changed])

    @property
    def qualifier(self) -> str:
        """What follows the title where options differ from their defaults: those options in brackets."""
        _, *changed = str(self).split(":")
        return f" ({', '.join(changed)})" if changed else ""


D = TypeVar("D", bound=Declared)


def parse(text: str, find: Callable[[str], type[D]], quality: Quality = "standard") -> D:
    """What is written as ``name:option=value:option=value``; a switch is turned on by its name alone.

    Args:
        find: the class of a name; refuses unknown ones.
        quality: of the options that are not written.

    Raises:
        OptionError: an option that there is not, or a value that is none of it.
    """
    name, *parts = text.split(":")
    declared = find(name)
    known: dict[str, Any] = {item.name: type(item.default) for item in fields(declared)}
    given: dict[str, Any] = {}
    for part in parts:
        option, _, value = part.partition("=")
        if option not in known:
            there = f"there are {', '.join(known)}" if known else "it has none"
            raise OptionError(f"{name} has no option {option[:80]!r}; {there}.")
        try:
            given[option] = _SWITCH[value] if known[option] is bool else known[option](value)
        except (KeyError, ValueError):
            raise OptionError(
                f"{name}: {option} must be of type {known[option].__name__}, not {value[:80]!r}."
            ) from None
    return declared.preset(quality, **given)


_SWITCH = {"": True, "True": True, "False": False}


def stated(function: Callable[..., Any]) -> str:
    """What a function says of itself, up to its arguments, on one line."""
    return " ".join(re.split(r"\n\s*(?:Args|Raises):", function.__doc__ or "")[0].split())


def options_of(declared: type[Declared]) -> list[dict[str, Any]]:
    """The declared options: name, default, label, help, source, low, high, choices, presets."""
    return [
        {"name": item.name, "default": item.default if item.default is not MISSING else None, **item.metadata}
        for item in fields(declared)
    ]
