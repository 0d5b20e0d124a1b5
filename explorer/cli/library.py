"""``library``: reference libraries built, listed, shown, verified, merged, given away and deleted."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from explorer.cli import flags
from explorer.compute import Engine
from explorer.dataset import open_dataset
from explorer.errors import ExplorerError
from explorer.evaluation import Pace
from explorer.library import (
    LibraryError,
    LibraryInfo,
    Recipe,
    Unfinished,
    build,
    check,
    delete,
    discard,
    export,
    forget,
    from_entries,
    installed,
    merge,
    refuse_own,
    take_in,
    textures,
    tidy,
    unfinished,
    unreadable,
)
from explorer.render.manifest import as_json

_Run = Callable[[argparse.Namespace], None]


def add(commands: Any) -> None:
    libraries = commands.add_parser("library", help="build, check, merge and exchange reference libraries")
    actions = libraries.add_subparsers(required=True, metavar="ACTION", parser_class=flags.Parser)
    _add_build(actions)
    _action(actions, "list", _list, "list what is built")
    for name, run, text in (
        ("show", _show, "show one, with the files that were skipped"),
        ("verify", _verify, "read one whole and name its damaged files"),
        ("delete", _delete, "remove one, or what is there of an unfinished one"),
    ):
        _add_which(_action(actions, name, run, text))
    giving = _action(actions, "export", _export, "write one into a ZIP file, to give away")
    _add_which(giving)
    giving.add_argument("--out", type=Path, required=True, metavar="FILE")
    taking = _action(actions, "import", _import, "install one from a ZIP file that `library export` wrote")
    taking.add_argument("file", type=Path, metavar="FILE")
    taking.add_argument("--name", metavar="N", help="what to call it instead")
    joining = _action(actions, "merge", _merge, "join libraries of one backbone and layer", flags.cut())
    joining.add_argument("parts", nargs="+", metavar="PART", help="names of libraries, in any order")
    joining.add_argument("--name", required=True, metavar="N", help="what to call the whole")


def _action(
    actions: Any, name: str, run: _Run, text: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, parents=[flags.machine(), *parents], help=text)
    parser.set_defaults(run=run)
    return parser


def _add_build(actions: Any) -> None:
    building = _action(actions, "build", _build, "build one; goes on where it was stopped", flags.cut())
    building.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of photographs or of class folders, ImageNet's or Pascal VOC's layout, or a CSV file of paths",
    )
    building.add_argument("--textures", type=flags.natural, metavar="N", help="or so many generated textures")
    classes = building.add_mutually_exclusive_group()
    classes.add_argument("--labels", type=Path, metavar="CSV", help="columns file, class_index")
    classes.add_argument(
        "--no-labels",
        action="store_true",
        help="ignore the classes of the data set; the predicted one stands in",
    )
    building.add_argument("--split", default="train", help="of a data set that has several (default: train)")
    building.add_argument("--name", metavar="N", help="what to call it (default: the folder's name)")
    building.add_argument("--layers", metavar="A,B", help="several cut points, filled in one pass")
    building.add_argument(
        "--keep",
        choices=["all", "confident"],
        default="all",
        help="confident: only pictures recognised rightly with a probability of at least 0.8",
    )
    building.add_argument(
        "--per-class", type=flags.natural, default=0, metavar="N", help="at most so many of each class"
    )
    building.add_argument(
        "--size", type=flags.natural, default=0, metavar="N", help="at most so many, drawn at random"
    )
    building.add_argument("--balanced", action="store_true", help="every class gets its share of --size")


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="N")
    parser.add_argument("--backbone", help="where several have a library of this name")
    parser.add_argument("--layer")


def _build(arguments: argparse.Namespace) -> None:
    if (arguments.images is None) == (arguments.textures is None):
        raise ExplorerError("What is the library to be made of? Give either --images DIR or --textures N.")
    backbone = Engine().backbone(arguments.backbone)
    if arguments.images is not None:
        place = arguments.images.resolve()
        classes = None if arguments.no_labels else backbone.labels
        entries = open_dataset(
            arguments.images, classes=classes, labels=arguments.labels, split=arguments.split
        )
        sources, source = from_entries(entries), f"{'folder' if place.is_dir() else 'list'} {place.name}"
        title = place.name if place.is_dir() else place.stem
    else:
        sources, title, source = textures(arguments.textures), "textures", "generated textures"
    refuse_own(arguments.name or title)
    recipe = Recipe(
        arguments.name or title,
        source,
        arguments.keep,
        arguments.per_class,
        arguments.size,
        arguments.balanced,
    )
    layers = arguments.layers.split(",") if arguments.layers else [arguments.layer]
    pace = Pace()

    def progress(done: int, total: int, written: int) -> None:
        text = f"{done} of {total} pictures, {written / 1e6:.1f} MB, {pace(done, total)}"
        print(f"\r{text:70}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    cuts = list({cut.layer: cut for cut in (backbone.cut(layer) for layer in layers)}.values())
    built = build(cuts, recipe, sources, progress)
    _print(built, arguments.json)
    _tidy(built)


def _list(arguments: argparse.Namespace) -> None:
    libraries = installed()
    if not libraries and not arguments.json:
        print("No library is built yet; the built-in one is made when first needed.")
    _print(libraries, arguments.json)
    for begun in unfinished():
        print(
            f"{begun.name:20} {begun.backbone} at {begun.layer}: not finished ({begun.source}, {begun.pictures} "
            "pictures); the same `library build` goes on with it, `library delete` gives it up",
            file=sys.stderr,
        )
    for folder in unreadable():
        print(
            f"{folder.name}: damaged, its index cannot be read; build, merge or import it again, or remove it with "
            f"`library delete {folder.name}`",
            file=sys.stderr,
        )


def _show(arguments: argparse.Namespace) -> None:
    _print(_named(arguments.name, arguments.backbone, arguments.layer), arguments.json, details=True)


def _verify(arguments: argparse.Namespace) -> None:
    libraries = _named(arguments.name, arguments.backbone, arguments.layer)
    for info in libraries:
        check(info)
    _print(libraries, arguments.json)
    print("Every file holds what was written.", file=sys.stderr)


def _delete(arguments: argparse.Namespace) -> None:
    begun = [one for one in unfinished() if _is(one, arguments.name, arguments.backbone, arguments.layer)]
    broken = [folder for folder in unreadable() if folder.name == arguments.name]
    if broken:
        discard(broken[0])
    elif len(begun) == 1 and not _found(arguments.name, arguments.backbone, arguments.layer):
        forget(begun[0])
    else:
        info = _one(arguments)
        delete(info)
        _print([info], arguments.json)
    print("Deleted.", file=sys.stderr)


def _export(arguments: argparse.Namespace) -> None:
    info = _one(arguments)
    try:
        with arguments.out.open("xb") as file:
            export(info, file)
    except FileExistsError as error:
        raise ExplorerError(
            f"{arguments.out} is there already: choose another --out, or delete that file."
        ) from error
    except OSError as error:
        raise ExplorerError(
            f"{arguments.out} cannot be written ({error.strerror}): choose another --out."
        ) from error
    _print([info], arguments.json)
    print(f"Wrote {arguments.out}.", file=sys.stderr)


def _import(arguments: argparse.Namespace) -> None:
    try:
        with arguments.file.open("rb") as file:
            info = take_in(file, arguments.name)
    except OSError as error:
        raise ExplorerError(f"{arguments.file} cannot be read ({error.strerror}): check the path.") from error
    _print([info], arguments.json)
    _tidy([info])


def _merge(arguments: argparse.Namespace) -> None:
    layer = Engine().backbone(arguments.backbone).layer(arguments.layer).name
    parts = []
    for name in arguments.parts:
        parts += _named(name, arguments.backbone, layer)
    refuse_own(arguments.name)
    together = ", ".join(sorted({part.name for part in parts}))
    info = merge(parts, Recipe(arguments.name, f"merged of {together}"))
    _print([info], arguments.json)
    _tidy([info])


def _named(name: str, backbone: str | None, layer: str | None) -> list[LibraryInfo]:
    libraries = _found(name, backbone, layer)
    if not libraries and any(_is(begun, name, backbone, layer) for begun in unfinished()):
        raise LibraryError(
            f"The library {name[:80]!r} is not finished: the `library build` that began it goes on with it, `library "
            "delete` gives it up."
        )
    if not libraries:
        known = ", ".join(sorted({info.name for info in installed()})) or "none yet"
        where = "".join(f" of {backbone}" if backbone else "") + (f" at {layer}" if layer else "")
        raise LibraryError(f"There is no library {name[:80]!r}{where}; built are: {known}.")
    return libraries


def _found(name: str, backbone: str | None, layer: str | None) -> list[LibraryInfo]:
    return [info for info in installed() if _is(info, name, backbone, layer)]


def _is(one: LibraryInfo | Unfinished, name: str, backbone: str | None, layer: str | None) -> bool:
    return one.name == name and backbone in (None, one.backbone) and layer in (None, one.layer)


def _one(arguments: argparse.Namespace) -> LibraryInfo:
    libraries = _named(arguments.name, arguments.backbone, arguments.layer)
    if len(libraries) > 1:
        places = "; ".join(f"--backbone {info.backbone} --layer {info.layer}" for info in libraries)
        raise LibraryError(f"There are several libraries {arguments.name!r}: say which ({places}).")
    return libraries[0]


def _tidy(needed: Sequence[LibraryInfo]) -> None:
    for info in tidy(needed):
        print(
            f"Removed {info.name} of {info.backbone} at {info.layer}, the least recently used: all libraries "
            "together are over EXPLORER_LIBRARY_GB.",
            file=sys.stderr,
        )


def _print(libraries: list[LibraryInfo], machine: bool, details: bool = False) -> None:
    if machine:
        print(as_json([asdict(info) | {"bytes": info.bytes} for info in libraries]))
        return
    for info in libraries:
        created = datetime.fromtimestamp(info.created, UTC).isoformat(" ", "minutes")
        print(
            f"{info.name:20} {info.backbone} at {info.layer}: {info.records} pictures of {info.classes} classes, "
            f"{info.bytes / 1e6:.1f} MB, {info.source}, {created}, {info.fingerprint[:12]}"
        )
        if details:
            for reason in info.skipped:
                print(f"  skipped: {reason}")
