"""``model``: classifiers of your own, by the names under which they are kept."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer import backbones
from explorer.backbones import INTERPOLATIONS, Backbone, from_checkpoint
from explorer.cli import flags
from explorer.render.manifest import as_json


def add(commands: Any) -> None:
    group = commands.add_parser("model", help="add, check, list and delete classifiers of your own")
    actions = group.add_subparsers(required=True, metavar="ACTION", parser_class=flags.Parser)
    weights = _weights()
    command = actions.add_parser("add", parents=[weights], help="keep a model, once it is found to work")
    command.add_argument(
        "--name", required=True, help="what to call it; own:NAME while no other model bears the name"
    )
    command.set_defaults(run=_add)
    command = actions.add_parser(
        "check", parents=[weights], help="say what a model is, or what is wrong with it"
    )
    command.set_defaults(run=_check)
    command = actions.add_parser("list", parents=[flags.machine()], help="list the models that are kept")
    command.set_defaults(run=_list)
    command = actions.add_parser("delete", help="remove a model; what was made with it stays")
    command.add_argument("name", metavar="NAME", help="of `model list`")
    command.set_defaults(run=_delete)


def _weights() -> flags.Parser:
    """The options that say what a model is."""
    parser = flags.Parser(add_help=False)
    parser.add_argument(
        "weights", type=Path, metavar="FILE", help="a state dict: safetensors, or saved by torch.save"
    )
    parser.add_argument(
        "--architecture", required=True, metavar="NAME", help="of torchvision, or timm:NAME; what was trained"
    )
    parser.add_argument(
        "--class-names", type=Path, metavar="FILE", help="one a line, in the order of the logits"
    )
    parser.add_argument(
        "--resize",
        type=flags.natural,
        metavar="SIDE",
        help="short side in pixels (default: the architecture's)",
    )
    parser.add_argument(
        "--crop", type=flags.natural, metavar="SIDE", help="of the square that the network sees"
    )
    parser.add_argument("--interpolation", choices=INTERPOLATIONS)
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}", type=float, nargs=3, metavar=("R", "G", "B"), help="of the channels, in 0 to 1"
        )
    return parser


def _seen(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in ("resize", "interpolation")}
    given["crop"] = arguments.crop and (arguments.crop, arguments.crop)
    given |= {name: (values := getattr(arguments, name)) and tuple(values) for name in ("mean", "std")}
    return {name: value for name, value in given.items() if value is not None}


def _add(arguments: argparse.Namespace) -> None:
    model = backbones.keep(
        arguments.name, arguments.architecture, arguments.weights, arguments.class_names, _seen(arguments)
    )
    print(
        f"Kept as {model.identifier}, with {len(model.labels)} classes: --backbone {model.identifier!r} explains it."
    )


def _check(arguments: argparse.Namespace) -> None:
    names, seen = arguments.class_names, _seen(arguments)
    print(_about(from_checkpoint(arguments.architecture, arguments.weights, names, seen=seen)))


def _about(backbone: Backbone) -> str:
    height, width = backbone.preprocessing.crop
    layers, more = backbone.layers, " ..." if len(backbone.labels) > 5 else ""
    return "\n".join(
        [
            f"It works: {len(backbone.labels)} classes, {', '.join(backbone.labels[:5])}{more}.",
            f"It sees {height} x {width} pixels, mean {backbone.preprocessing.mean}, std {backbone.preprocessing.std}.",
            f"{len(layers)} layers can be explained; the deepest:",
            *(f"  {layer.name:44} {layer.shape:>16}" for layer in reversed(layers[-8:])),
        ]
    )


def _list(arguments: argparse.Namespace) -> None:
    models = backbones.own_models()
    if arguments.json:
        print(as_json([{"identifier": model.identifier, **asdict(model)} for model in models]))
        return
    for model in models:
        print(
            f"{model.identifier:32} {model.architecture}, {len(model.labels)} classes, {model.megabytes:.1f} MB, "
            f"from {model.source}"
        )
    if not models:
        print("No model of your own is kept: add one with `python -m explorer model add`.")


def _delete(arguments: argparse.Namespace) -> None:
    model = backbones.find_own(arguments.name)
    backbones.delete(model)
    print(f"Deleted {model.identifier}.")
