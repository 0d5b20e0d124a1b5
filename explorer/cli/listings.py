"""What there is: ``backbones``, ``methods``, ``metrics``, ``layers``."""

import argparse
import time
from dataclasses import asdict
from typing import Any

from explorer import backbones, images
from explorer.calibration import PAPER_LEVELS
from explorer.cli import flags
from explorer.compute import Engine, Explanation, Progress, Request
from explorer.declaration import options_of
from explorer.methods import DEFAULT_METHODS, METHODS, find
from explorer.metrics import METRICS
from explorer.render.manifest import as_json


def add(commands: Any) -> None:
    listing = commands.add_parser("backbones", parents=[flags.machine()], help="list the backbones")
    listing.set_defaults(run=_backbones)
    listing = commands.add_parser(
        "methods",
        parents=[flags.machine(), flags.cut(), flags.quality()],
        help="list the methods and their options",
    )
    listing.add_argument(
        "--costs", action="store_true", help="what a calibrated map costs at this layer, on this machine"
    )
    listing.set_defaults(run=_methods)
    listing = commands.add_parser(
        "metrics", parents=[flags.machine()], help="list the metrics and their options"
    )
    listing.set_defaults(run=_metrics)
    listing = commands.add_parser(
        "layers", parents=[flags.machine(), flags.cut()], help="list the cut points of a backbone"
    )
    listing.set_defaults(run=_layers)


def _backbones(arguments: argparse.Namespace) -> None:
    listed = [backbones.info(name) for name in backbones.names()]
    if arguments.json:
        print(as_json([asdict(item) for item in listed]))
        return
    for item in listed:
        numbers = "" if item.accuracy is None else f"top-1 {item.accuracy:5.1f}%  {item.megabytes:6.0f} MB  "
        print(
            f"{item.name:24} {item.source:12} {numbers}{'ready' if item.ready else 'downloaded when first used'}"
        )
    print("timm:NAME                timm         any of timm's pretrained classifiers")
    print("own:NAME                 own          those of `model list`")


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
            print(f"{'':18} --{item['name'].replace('_', '-')} ({_values(item)}): {item['help']}")


def _values(item: dict[str, Any]) -> str:
    """The default of an option, and its value in the other qualities where that differs."""
    others = [f"{quality} {value}" for quality, value in item["presets"].items()]
    return "; ".join([str(item["default"]), *others])


def _metrics(arguments: argparse.Namespace) -> None:
    if arguments.json:
        listed = [
            {
                "name": metric.name,
                "symbol": metric.symbol,
                "title": metric.title,
                "kind": metric.kind,
                "better": metric.better,
                "range": [metric.low, metric.high],
                "good": metric.good,
                "bad": metric.bad,
                "definition": metric.definition(),
                "removed": metric.removed,
                "quirk": metric.quirk,
                "paper": asdict(metric.paper),
                "cost": metric.cost,
                "options": options_of(metric),
            }
            for metric in METRICS.values()
        ]
        print(as_json(listed))
        return
    for metric in METRICS.values():
        better = f"{metric.better} is better" if metric.better else "neither way is better"
        print(f"{metric.name:28} {metric.title} ({metric.symbol}), {better}")
        print(f"{'':28} {metric.good} {metric.bad}")
        print(f"{'':28} {metric.definition()}.")
        if metric.removed:
            print(f"{'':28} What is masked becomes {metric.removed}.")
        print(
            f"{'':28} Costs {metric.cost}. {metric.paper.authors}, {metric.paper.venue} {metric.paper.year}"
        )
        for item in options_of(metric):
            print(f"{'':28} :{item['name']}={item['default']}  {item['help']}")


_MEASURED = 100  # forward passes; what takes more is reckoned from the speed of these
_LONGEST = 10.0  # seconds for one measurement


class _Deadline(Progress):
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
        request = Request(arguments.backbone, arguments.layer, find(name).preset(arguments.quality))
        return engine.explain(picture, request, _Deadline() if name not in DEFAULT_METHODS else None)

    for name in DEFAULT_METHODS:  # once before, so that no loading and no library is measured
        explain(name)
    plain = explain("grad-cam")
    listed: list[dict[str, Any]] = []
    undefined = engine.undefined(arguments.backbone, arguments.layer)
    for name, method in METHODS.items():
        reason = undefined.get(name)
        passes = method.preset(arguments.quality).passes(cut.layer) + len(PAPER_LEVELS)
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
