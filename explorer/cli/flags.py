"""What all commands share: a parser that refuses with one sentence, and flags for what is declared."""

import argparse
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from explorer import backbones, images
from explorer.declaration import QUALITIES, Declared, options_of
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.library import BUILT_IN, RULES, UNLIKELY

T = TypeVar("T", bound=Declared)


class Parser(argparse.ArgumentParser):
    """Refuses with one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ExplorerError(
            f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` shows what is expected."
        )


class _Backbone(argparse.Action):
    """Takes a backbone's name; that of an own model becomes the full one."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        own = values.startswith(backbones.PREFIX)
        setattr(namespace, self.dest, backbones.find_own(values).identifier if own else values)


def machine() -> Parser:
    """The option of every command that prints."""
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print machine-readable output")
    return parser


def cut() -> Parser:
    """The options that name a backbone and where it is cut."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--backbone",
        action=_Backbone,
        default=backbones.DEFAULT_BACKBONE,
        help="a name of `backbones`, timm:NAME, or own:NAME of `model list`",
    )
    parser.add_argument("--layer", help="a cut point (default: the end of the feature extractor)")
    return parser


def quality() -> Parser:
    """The option that says how much methods compute."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--quality",
        choices=QUALITIES,
        default="standard",
        help="of the options of methods that are not given: quick for a first look, paper as the papers or their "
        "released codes state (default: %(default)s)",
    )
    return parser


def references() -> Parser:
    """The options that say where references come from."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--library", default=BUILT_IN, metavar="NAME", help="of the references, or on-the-fly"
    )
    parser.add_argument("--rule", choices=list(RULES), default="random", help="how references are selected")
    parser.add_argument(
        "--limit",
        type=float,
        default=UNLIKELY,
        metavar="P",
        help="of the target probability on references, in the rules that draw them (default: %(default)s)",
    )
    return parser


def add_options(parser: argparse.ArgumentParser, declared: Iterable[type[Declared]]) -> None:
    """A flag for every option declared, one of the same name once, and ``--seed`` for everything random."""
    parser.add_argument("--seed", type=natural, default=0, help="of everything random")
    found: dict[str, dict[str, Any]] = {}
    for one in declared:
        for item in options_of(one):
            if item["name"] != "seed":
                found.setdefault(item["name"], {**item, "of": []})["of"].append(one.name)
    for item in found.values():
        flag = f"--{item['name'].replace('_', '-')}"
        text = f"{item['help']} ({', '.join(item['of'])}; default {item['default']})"
        kind: dict[str, Any] = (
            {"action": "store_true"} if item["default"] is False else {"type": type(item["default"])}
        )
        parser.add_argument(flag, dest=f"option_{item['name']}", default=None, help=text, **kind)


def configured(declared: type[T], arguments: argparse.Namespace) -> T:
    """A method or metric with the options that the flags say, the others of the quality."""
    given = {
        item.name: arguments.seed if item.name == "seed" else getattr(arguments, f"option_{item.name}")
        for item in fields(declared)
    }
    known = {option: value for option, value in given.items() if value is not None}
    return declared.preset(arguments.quality, **known)


def picture(name: str) -> Picture:
    """The picture in a file, or the sample of ``sample:NAME``."""
    if name.startswith("sample:"):
        return images.sample(name.removeprefix("sample:"))
    return images.load(Path(name))


def index_or_name(text: str) -> int | str:
    """A class, by its index or by its name."""
    try:
        return int(text)
    except ValueError:
        return text


def natural(text: str) -> int:
    """A whole number from 0."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise ValueError
    return value
