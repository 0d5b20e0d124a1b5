"""``evaluate``: a whole data set measured."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from explorer.cli import flags
from explorer.compute import Engine, Silent
from explorer.dataset import open_dataset
from explorer.declaration import parse
from explorer.errors import ExplorerError
from explorer.evaluation import Configuration, Pace, evaluate
from explorer.methods import METHODS, UndefinedMethodError
from explorer.methods import find as find_method
from explorer.metrics import METRICS
from explorer.metrics import find as find_metric
from explorer.render.results import write_results

_METHODS = "grad-cam,grad-cam++,layer-cam,lift-cam,libra-cam,fake-cam,random,centre-gaussian"
_METRICS = (
    "average-drop,average-increase,average-gain,average-drop-in-deletion,coherency,complexity,adcc,"
    "average-probability-increase,average-probability-drop,increase-rate,drop-rate,ties,insertion,deletion"
)


def add(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate",
        parents=[flags.cut(), flags.references(), flags.quality()],
        help="measure methods over a data set; goes on where it was stopped",
    )
    command.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder of photographs or of class folders, ImageNet's or Pascal VOC's layout, or a CSV file of paths",
    )
    command.add_argument("--labels", type=Path, metavar="CSV", help="columns file, class_index")
    command.add_argument(
        "--boxes", type=Path, metavar="CSV", help="columns file, x0, y0, x1, y1 in pixels of the file"
    )
    command.add_argument("--split", default="val", help="of a data set that has several")
    command.add_argument(
        "--methods",
        default=_METHODS,
        metavar="A,B",
        help="names of `methods`, perhaps with options (score-cam:channels=64), or all (default: %(default)s)",
    )
    command.add_argument(
        "--metrics",
        default=_METRICS,
        metavar="A,B",
        help="names of `metrics`, perhaps with options (average-drop:fill=black), or all (default: %(default)s)",
    )
    command.add_argument(
        "--classes",
        choices=["predicted", "given"],
        default="predicted",
        help="whether the predicted or the given class of a picture is explained",
    )
    command.add_argument(
        "--baseline",
        default="grad-cam",
        metavar="METHOD",
        help="with whose plain maps all others are compared",
    )
    command.add_argument("--seed", type=flags.natural, default=0, help="of the selection of references")
    command.add_argument(
        "--compile",
        action="store_true",
        help="compile the network first (needs a C++ compiler, up to a minute): faster, equal to five digits",
    )
    command.add_argument(
        "--workers",
        type=flags.natural,
        default=1,
        metavar="N",
        help="processes that decode photographs ahead",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    command.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    engine = Engine()
    backbone = engine.backbone(arguments.backbone)
    if arguments.compile:
        backbone.compile()
    undefined = engine.undefined(backbone.name, arguments.layer)
    names = _names("methods", arguments.methods, [name for name in METHODS if name not in undefined])
    methods = tuple(dict.fromkeys(parse(name, find_method, arguments.quality) for name in names))
    baseline = str(parse(arguments.baseline, find_method, arguments.quality))
    for method in methods:
        if method.name in undefined:
            raise UndefinedMethodError(undefined[method.name])
    if baseline not in map(str, methods):
        raise ExplorerError(
            f"The baseline {baseline!r} is not among the methods that are evaluated: choose one of "
            f"{', '.join(map(str, methods))}."
        )
    configuration = Configuration(
        backbone.name,
        arguments.layer,
        methods,
        tuple(
            dict.fromkeys(parse(name, find_metric) for name in _names("metrics", arguments.metrics, METRICS))
        ),
        arguments.classes,
        arguments.library,
        arguments.rule,
        arguments.seed,
        arguments.limit,
    )
    entries = open_dataset(
        arguments.images,
        classes=backbone.labels,
        labels=arguments.labels,
        boxes=arguments.boxes,
        split=arguments.split,
    )
    needy = [metric.name for metric in configuration.metrics if metric.needs_objects]
    if needy and not any(entry.boxes or entry.mask for entry in entries):
        print(f"No picture has boxes or a mask, so these have no value: {', '.join(needy)}.", file=sys.stderr)
    try:
        outcome = evaluate(engine, entries, configuration, arguments.out, _Clock(), arguments.workers)
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        raise
    write_results(engine, entries, configuration, outcome, baseline, arguments.out, _Report())
    print(file=sys.stderr)
    for reason in outcome.skipped:
        print(f"Left out: {reason}", file=sys.stderr)
    print((arguments.out / "table.md").read_text("utf-8").partition("\n\n")[0])
    print(f"Wrote report.html, table.md, summary.json, pictures.csv and pictures.parquet to {arguments.out}.")


def _names(kind: str, text: str, known: Iterable[str]) -> list[str]:
    names = list(known) if text == "all" else [name for part in text.split(",") if (name := part.strip())]
    if not names:
        raise ExplorerError(f"--{kind} names none: give some, with commas, or all; `{kind}` lists them.")
    return names


class _Report(Silent):
    """Says that the maps of the report's examples are made."""

    def begin(self, stage: str, total: int = 0) -> None:
        print(f"\r{'Examples of the report: ' + stage:70}", end="", file=sys.stderr, flush=True)


class _Clock:
    """Progress on standard error, with the time left at the present speed."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __call__(self, done: int, total: int) -> None:
        text = ", ".join(filter(None, [f"{done} of {total} pictures", self._pace(done, total)]))
        end = "" if done < total else "\n"
        print(f"\r{text:70}", end=end, file=sys.stderr, flush=True)
