"""``library``: reference libraries built, listed, shown."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer.cli import flags
from explorer.compute import Engine
from explorer.errors import ExplorerError
from explorer.library import BUILT_IN, ON_THE_FLY, LibraryError, LibraryInfo, build, from_folder, installed
from explorer.render.manifest import as_json


def add(commands: Any) -> None:
    libraries = commands.add_parser("library", help="build and list reference libraries")
    actions = libraries.add_subparsers(required=True, metavar="ACTION", parser_class=flags.Parser)
    building = actions.add_parser(
        "build", parents=[flags.machine(), flags.cut()], help="build one from a folder of photographs"
    )
    building.add_argument("--images", type=Path, required=True, metavar="DIR")
    building.add_argument("--labels", type=Path, metavar="CSV", help="columns file, class_index")
    building.add_argument("--name", metavar="N", help="what to call it (default: the folder's name)")
    building.set_defaults(run=_build)
    listing = actions.add_parser("list", parents=[flags.machine()], help="list what is built")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", parents=[flags.machine()], help="show one")
    showing.add_argument("name", metavar="N")
    showing.set_defaults(run=_show)


def _build(arguments: argparse.Namespace) -> None:
    name = arguments.name or arguments.images.resolve().name
    if name in (BUILT_IN, ON_THE_FLY):
        raise ExplorerError(
            f"{name!r} is the name of a library that the explorer makes: choose another --name."
        )
    sources = from_folder(arguments.images, arguments.labels)
    cut = Engine().backbone(arguments.backbone).cut(arguments.layer)

    def progress(done: int, total: int) -> None:
        print(f"\r{done} of {total} pictures", end="" if done < total else "\n", file=sys.stderr, flush=True)

    build(cut, name, sources, f"folder {arguments.images.resolve().name}", progress)
    [info] = [item for item in installed() if (item.space, item.name) == (cut.fingerprint, name)]
    _print([info], arguments.json)


def _list(arguments: argparse.Namespace) -> None:
    libraries = installed()
    if not libraries and not arguments.json:
        print("No library is built yet; the built-in one is made when first needed.")
    _print(libraries, arguments.json)


def _show(arguments: argparse.Namespace) -> None:
    libraries = [info for info in installed() if info.name == arguments.name]
    if not libraries:
        known = ", ".join(sorted({info.name for info in installed()})) or "none yet"
        raise LibraryError(f"There is no library {arguments.name[:80]!r}; built are: {known}.")
    _print(libraries, arguments.json, details=True)


def _print(libraries: list[LibraryInfo], machine: bool, details: bool = False) -> None:
    if machine:
        print(as_json([asdict(info) for info in libraries]))
        return
    for info in libraries:
        print(
            f"{info.name:20} {info.backbone} at {info.layer}: {info.records} pictures of {info.classes} classes, "
            f"{info.bytes / 1e6:.1f} MB, {info.source}, {info.created}, {info.fingerprint[:12]}"
        )
        if details:
            for reason in info.skipped:
                print(f"  skipped: {reason}")
