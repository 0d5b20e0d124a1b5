"""``explain``: maps of photographs as files."""

import argparse
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from explorer.calibration import FINE_LEVELS, PAPER_LEVELS
from explorer.cli import flags
from explorer.compute import Engine, Explanation, Request
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.methods import DEFAULT_METHODS, METHODS, UndefinedMethodError, find
from explorer.render.manifest import as_json, manifest
from explorer.render.overlay import overlay


def add(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        parents=[flags.machine(), flags.cut(), flags.references(), flags.quality()],
        help="write the maps of photographs",
    )
    explain.add_argument("photos", nargs="+", metavar="PHOTO", help="a file, or sample:NAME")
    explain.add_argument(
        "--method",
        action="append",
        dest="methods",
        help="a name of `methods`; may be repeated (default: grad-cam and libra-cam)",
    )
    explain.add_argument(
        "--target",
        type=flags.index_or_name,
        metavar="CLASS",
        help="class index or name (default: the predicted class)",
    )
    explain.add_argument("--fine", action="store_true", help="calibrate in steps of 2%% instead of 10%%")
    explain.add_argument("--quick", action="store_true", help="bfloat16 masked scores: faster, not exact")
    explain.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    flags.add_options(explain, METHODS.values())
    explain.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> None:
    methods = [
        flags.configured(find(name), arguments)
        for name in dict.fromkeys(arguments.methods or DEFAULT_METHODS)
    ]
    pictures = [flags.picture(name) for name in arguments.photos]
    stems = [Path(picture.name).stem for picture in pictures]
    for stem, count in Counter(stems).items():
        if stem in (".", "..", "manifest.json"):
            raise ExplorerError(f"A photograph called {stem!r} cannot have a folder of that name: rename it.")
        if count > 1:
            raise ExplorerError(
                f"{count} of the photographs are called {stem!r}: rename one, or run them apart."
            )
    engine = Engine()
    if undefined := engine.undefined(arguments.backbone, arguments.layer, methods):
        raise UndefinedMethodError(next(iter(undefined.values())))
    arguments.out.mkdir(parents=True, exist_ok=True)
    explanations: list[Explanation] = []
    paths: dict[int, dict[str, str]] = {}
    for picture, stem in zip(pictures, stems, strict=True):
        for method in methods:
            request = Request(
                backbone=arguments.backbone,
                layer=arguments.layer,
                method=method,
                target=arguments.target,
                library=arguments.library,
                rule=arguments.rule,
                limit=arguments.limit,
                seed=arguments.seed,
                levels=FINE_LEVELS if arguments.fine else PAPER_LEVELS,
                precision="bfloat16" if arguments.quick else "float32",
            )
            explanation = engine.explain(picture, request)
            paths[len(explanations)] = _write(explanation, picture, arguments.out, stem)
            explanations.append(explanation)
            if not arguments.json:
                print(_line(explanation))
    digests = {
        file: hashlib.sha256((arguments.out / file).read_bytes()).hexdigest()
        for files in paths.values()
        for file in files.values()
    }
    result = manifest(explanations, paths, digests=digests)
    text = as_json(result)
    (arguments.out / "manifest.json").write_text(text + "\n")
    if arguments.json:
        print(text)
    else:
        print(f"Wrote {2 * len(explanations)} files and manifest.json to {arguments.out}.")


def _write(explanation: Explanation, picture: Picture, out: Path, stem: str) -> dict[str, str]:
    folder = out / stem
    folder.mkdir(exist_ok=True)
    name = explanation.request.method.name
    saliency = explanation.attribution.saliency.numpy()
    np.save(folder / f"{name}.npy", saliency, allow_pickle=False)
    overlay(picture, saliency, explanation.box).save(folder / f"{name}.png")
    return {"overlay": f"{stem}/{name}.png", "map": f"{stem}/{name}.npy"}


def _line(explanation: Explanation) -> str:
    cut = explanation.calibration
    verdict = explanation.attribution.blank or (
        f"cut at {cut.cut}% removed"
        + (f", probability there {_at_cut(explanation):.3f}" if cut.cut < 100 else "")
        if cut
        else ""
    )
    return (
        f"{explanation.name}  {explanation.request.method.name}  {explanation.label} "
        f"{explanation.probability:.3f}  {verdict}  ({explanation.passes} passes, {explanation.seconds:.2f} s)"
    )


def _at_cut(explanation: Explanation) -> float:
    curve = explanation.calibration
    assert curve is not None
    return curve.probabilities[curve.removed.index(curve.cut)]
