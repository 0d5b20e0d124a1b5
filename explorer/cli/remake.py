"""``remake``: the maps of a bundle made again and compared."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from explorer.bundle import BundleError, differences, opened, remake
from explorer.bundle.wall import stem
from explorer.cli import flags
from explorer.compute import Explanation
from explorer.render.arrays import npy
from explorer.render.manifest import as_json, manifest


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "remake", help="make the maps of a bundle again and say whether they are bit-equal"
    )
    parser.add_argument(
        "bundle",
        type=Path,
        metavar="BUNDLE",
        help="what the page gave, a ZIP file or its folder, or DIR of explain",
    )
    parser.add_argument(
        "photos", nargs="*", metavar="PHOTO", help="photographs of explain's that are no samples, as files"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the maps go")
    parser.set_defaults(run=_remake)


def _remake(arguments: argparse.Namespace) -> None:
    if arguments.out.resolve() == arguments.bundle.resolve():
        raise BundleError(f"--out is the bundle {arguments.bundle} itself: name another folder.")
    bundle = opened(arguments.bundle)
    given = [flags.picture(name) for name in arguments.photos]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for sentence in differences(bundle):
        print(sentence)
    explanations: list[Explanation] = []
    paths: dict[int, dict[str, str]] = {}
    equal, taken = 0, Counter[str]()
    for made in remake(bundle, given):
        equal += made.equal
        print(f"{made.kept.name}  {made.kept.request.method.name}  {made.kept.label}  {made.verdict}")
        file = f"{stem(made.kept.number, made.kept.request.method.name, taken)}.npy"
        if made.explanation is not None:
            (arguments.out / file).write_bytes(npy(made.explanation.attribution.saliency.numpy()))
            paths[len(explanations)] = {"map": file}
            explanations.append(made.explanation)
    (arguments.out / "manifest.json").write_text(as_json(manifest(explanations, paths)) + "\n")
    if equal < len(bundle.maps):
        raise BundleError(
            f"{equal} of {len(bundle.maps)} maps are bit-equal: the lines above say what the others are."
        )
    print(f"All {equal} maps are bit-equal. They are in {arguments.out}.")
