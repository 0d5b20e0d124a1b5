"""The command line: ``python -m explorer`` or ``cam-explorer``."""

import argparse
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from explorer import backbones, images
from explorer.calibration import FINE_LEVELS, PAPER_LEVELS
from explorer.compute import Engine, Explanation, Request, keep_freed_memory
from explorer.declaration import options_of
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.library import (
    BUILT_IN,
    ON_THE_FLY,
    RULES,
    LibraryError,
    LibraryInfo,
    build,
    from_folder,
    installed,
)
from explorer.methods import DEFAULT_METHODS, METHODS, Method, UndefinedMethodError, find
from explorer.render.manifest import as_json, manifest
from explorer.render.overlay import overlay


class _Parser(argparse.ArgumentParser):
    """Refuses with one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ExplorerError(
            f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` shows what is expected."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, or 2 with one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    try:
        parsed = _parser().parse_args(arguments)
        parsed.run(parsed)
    except ExplorerError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(_fault(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _fault(error: OSError) -> str:
    """What the system refused, in a sentence."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"The machine refused: {reason}. Check the disk and the connection, then run this again."
    return f"{error.filename} cannot be used ({reason}): choose another place, --out for what is written."


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cam-explorer", description="See where class-activation methods say a network looked."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    machine = _Parser(add_help=False)
    machine.add_argument("--json", action="store_true", help="print machine-readable output")
    cut = _Parser(add_help=False)
    cut.add_argument(
        "--backbone", default=backbones.DEFAULT_BACKBONE, help="a name of `backbones`, or timm:NAME"
    )
    cut.add_argument("--layer", help="a cut point (default: the end of the feature extractor)")

    serve = commands.add_parser("serve", help="open the explorer in the browser")
    serve.add_argument("streamlit_options", nargs="*", help="passed on to streamlit, after --")
    serve.set_defaults(run=_serve)

    explain = commands.add_parser("explain", parents=[machine, cut], help="write the maps of photographs")
    explain.add_argument("photos", nargs="+", metavar="PHOTO", help="a file, or sample:NAME")
    explain.add_argument(
        "--method",
        action="append",
        dest="methods",
        help="a name of `methods`; may be repeated (default: grad-cam and libra-cam)",
    )
    explain.add_argument(
        "--target", type=int, metavar="CLASS", help="class index (default: the predicted class)"
    )
    explain.add_argument(
        "--library", default=BUILT_IN, metavar="NAME", help="of the references, or on-the-fly"
    )
    explain.add_argument("--rule", choices=list(RULES), default="random", help="how references are selected")
    explain.add_argument("--seed", type=_seed, default=0, help="of everything random")
    explain.add_argument("--fine", action="store_true", help="calibrate in steps of 2 % instead of 10 %")
    explain.add_argument("--quick", action="store_true", help="bfloat16 masked scores: faster, not exact")
    explain.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    for declared in _declared_options():
        flag = f"--{declared['name'].replace('_', '-')}"
        text = f"{declared['help']} ({', '.join(declared['methods'])}; default {declared['default']})"
        kind: dict[str, Any] = (
            {"action": "store_true"} if declared["default"] is False else {"type": type(declared["default"])}
        )
        explain.add_argument(flag, dest=f"option_{declared['name']}", default=None, help=text, **kind)
    explain.set_defaults(run=_explain)

    listing = commands.add_parser("backbones", parents=[machine], help="list the backbones")
    listing.set_defaults(run=_backbones)
    listing = commands.add_parser(
        "methods", parents=[machine, cut], help="list the methods and their options"
    )
    listing.add_argument(
        "--costs", action="store_true", help="what a calibrated map costs at this layer, on this machine"
    )
    listing.set_defaults(run=_methods)
    listing = commands.add_parser("layers", parents=[machine, cut], help="list the cut points of a backbone")
    listing.set_defaults(run=_layers)

    libraries = commands.add_parser("library", help="build and list reference libraries")
    actions = libraries.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)
    building = actions.add_parser(
        "build", parents=[machine, cut], help="build one from a folder of photographs"
    )
    building.add_argument("--images", type=Path, required=True, metavar="DIR")
    building.add_argument("--labels", type=Path, metavar="CSV", help="columns file, class_index")
    building.add_argument("--name", metavar="N", help="what to call it (default: the folder's name)")
    building.set_defaults(run=_library_build)
    listing = actions.add_parser("list", parents=[machine], help="list what is built")
    listing.set_defaults(run=_library_list)
    showing = actions.add_parser("show", parents=[machine], help="show one")
    showing.add_argument("name", metavar="N")
    showing.set_defaults(run=_library_show)
    return parser


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**63:
        raise ValueError
    return value


def _declared_options() -> list[dict[str, Any]]:
    """Every option of every method, an option of the same name once, with the methods that have it; the seed is
    shared with the selection of references."""
    declared: dict[str, dict[str, Any]] = {}
    for method in METHODS.values():
        for item in options_of(method):
            if item["name"] == "seed":
                continue
            declared.setdefault(item["name"], {**item, "methods": []})["methods"].append(method.name)
    return list(declared.values())


def _serve(arguments: argparse.Namespace) -> None:
    from streamlit.web import cli as streamlit

    page = Path(__file__).parent / "ui" / "entry.py"
    sys.exit(streamlit.main(["run", str(page), *_settings(), *arguments.streamlit_options]))


def _settings() -> Iterator[str]:
    """The settings of the page as flags: streamlit itself finds them only when started in a checkout."""
    here = Path(__file__).resolve().parent
    # In a checkout the settings lie beside the package, in an installed package inside it.
    folder = next(path for path in (here / "settings", here.parent / ".streamlit") if path.is_dir())
    sections = [("", tomllib.loads((folder / "config.toml").read_text("utf-8")))]
    for prefix, values in sections:
        for name, value in values.items():
            if isinstance(value, dict):
                sections.append((f"{prefix}{name}.", value))
            else:
                yield f"--{prefix}{name}={str(value).lower() if isinstance(value, bool) else value}"


def _explain(arguments: argparse.Namespace) -> None:
    methods = [_method(name, arguments) for name in dict.fromkeys(arguments.methods or DEFAULT_METHODS)]
    pictures = [_picture(name) for name in arguments.photos]
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
                seed=arguments.seed,
                levels=FINE_LEVELS if arguments.fine else PAPER_LEVELS,
                precision="bfloat16" if arguments.quick else "float32",
            )
            explanation = engine.explain(picture, request)
            paths[len(explanations)] = _write(explanation, picture, arguments.out, stem)
            explanations.append(explanation)
            if not arguments.json:
                print(_line(explanation))
    result = manifest(explanations, paths)
    text = as_json(result)
    (arguments.out / "manifest.json").write_text(text + "\n")
    if arguments.json:
        print(text)
    else:
        print(f"Wrote {2 * len(explanations)} files and manifest.json to {arguments.out}.")


def _method(name: str, arguments: argparse.Namespace) -> Method:
    method = find(name)
    names = [item.name for item in fields(method)]
    given = {
        name: arguments.seed if name == "seed" else getattr(arguments, f"option_{name}") for name in names
    }
    return method(**{option: value for option, value in given.items() if value is not None})


def _picture(name: str) -> Picture:
    if name.startswith("sample:"):
        return images.sample(name.removeprefix("sample:"))
    return images.load(Path(name))


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
        f"cut at {cut.cut} % removed"
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


def _backbones(arguments: argparse.Namespace) -> None:
    listed = [backbones.info(name) for name in backbones.names()]
    if arguments.json:
        print(as_json([asdict(item) for item in listed]))
        return
    for item in listed:
        numbers = "" if item.accuracy is None else f"top-1 {item.accuracy:5.1f} %  {item.megabytes:6.0f} MB  "
        print(
            f"{item.name:24} {item.source:12} {numbers}{'ready' if item.ready else 'downloaded when first used'}"
        )
    print("timm:NAME                timm         any of timm's pretrained classifiers")


def _methods(arguments: argparse.Namespace) -> None:
    if arguments.costs:
        _costs(arguments)
        return
    listed = [
        {
            "name": method.name,
            "title": method.title,
            "family": method.family,
            "good": method.good,
            "bad": method.bad,
            "paper": asdict(method.paper),
            "needs": method.needs,
            "cost": method.cost,
            "options": options_of(method),
        }
        for method in METHODS.values()
    ]
    if arguments.json:
        print(as_json(listed))
        return
    for method in METHODS.values():
        print(
            f"{method.name:18} {method.title} ({method.paper.authors}, {method.paper.venue} {method.paper.year})"
        )
        print(f"{'':18} {method.good} {method.bad}")
        print(f"{'':18} Costs {method.cost}; needs {', '.join(method.needs) or 'the activation only'}.")
        for item in options_of(method):
            print(f"{'':18} --{item['name'].replace('_', '-')} ({item['default']}): {item['help']}")


_MEASURED = 100  # forward passes; what takes more is reckoned from the speed of these
_LONGEST = 10.0  # seconds for one measurement


class _Deadline:
    """Progress that stops what takes too long."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _LONGEST

    def begin(self, stage: str, total: int = 0) -> None:
        self.advance(0)

    def advance(self, steps: int) -> None:
        if time.monotonic() > self._end:
            raise TimeoutError


def _costs(arguments: argparse.Namespace) -> None:
    engine, picture = Engine(), images.sample(next(iter(images.SAMPLES)))
    cut = engine.backbone(arguments.backbone).cut(arguments.layer)

    def explain(name: str) -> Explanation:
        request = Request(arguments.backbone, arguments.layer, find(name)())
        return engine.explain(picture, request, _Deadline() if name not in DEFAULT_METHODS else None)

    for name in DEFAULT_METHODS:  # once before, so that no loading and no library is measured
        explain(name)
    plain = explain("grad-cam")
    listed: list[dict[str, Any]] = []
    undefined = engine.undefined(arguments.backbone, arguments.layer)
    for name, method in METHODS.items():
        reason = undefined.get(name)
        passes = method().passes(cut.layer) + len(PAPER_LEVELS)
        measured, seconds = False, passes * plain.seconds / plain.passes
        if reason is None and passes <= _MEASURED:
            try:
                measured, seconds = True, explain(name).seconds
            except TimeoutError:
                measured, seconds = False, max(seconds, _LONGEST)
        listed.append(
            {
                "name": name,
                "undefined": reason,
                "passes": None if reason else passes,
                "seconds": None if reason else round(seconds, 3),
                "measured": measured,
            }
        )
        if not arguments.json:
            print(f"{name:18} {reason or f'{passes:7} passes  {_seconds(seconds, measured)}'}")
    if arguments.json:
        print(as_json(listed))


def _seconds(seconds: float, measured: bool) -> str:
    return f"{seconds:.2f} s" if measured else f"about {seconds:.0f} s or more"


def _layers(arguments: argparse.Namespace) -> None:
    backbone = backbones.load(arguments.backbone)
    if arguments.json:
        print(as_json([asdict(layer) for layer in backbone.layers]))
        return
    for layer in backbone.layers:
        print(f"{layer.name:44} {layer.shape:>16}{'  default' if layer == backbone.default_layer else ''}")


def _library_build(arguments: argparse.Namespace) -> None:
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
    _print_library([info], arguments.json)


def _library_list(arguments: argparse.Namespace) -> None:
    libraries = installed()
    if not libraries and not arguments.json:
        print("No library is built yet; the built-in one is made when first needed.")
    _print_library(libraries, arguments.json)


def _library_show(arguments: argparse.Namespace) -> None:
    libraries = [info for info in installed() if info.name == arguments.name]
    if not libraries:
        known = ", ".join(sorted({info.name for info in installed()})) or "none yet"
        raise LibraryError(f"There is no library {arguments.name[:80]!r}; built are: {known}.")
    _print_library(libraries, arguments.json, details=True)


def _print_library(libraries: list[LibraryInfo], machine: bool, details: bool = False) -> None:
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
