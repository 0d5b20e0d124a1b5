"""What stands side by side on the wall: the methods, or each of them at several layers, for several classes, in several
networks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import streamlit as st

from explorer import backbones
from explorer.backbones import Layer
from explorer.compute import Job, Prediction, Request
from explorer.methods import Method
from explorer.ui.sidebar import Choice, network_title
from explorer.ui.state import service, waiter
from explorer.ui.view import bound, network, one_of, segmented, several, turn, view

_METHODS = "methods"
_KINDS = {_METHODS: "Methods", "layers": "Layers", "classes": "Classes", "networks": "Networks"}
_HELP = "The methods; or, for each of them, several layers, classes or networks."
_MOST = 12
_CHOSEN = "chosen"
_RANKS = {"1st": "Most probable", "2nd": "2nd most probable", "3rd": "3rd", "4th": "4th", "5th": "5th"}
_MOMENT = 0.1  # seconds


@dataclass(frozen=True)
class Column:
    """A column of the wall.

    Args:
        name: unique among the columns; that of the method where it is one.
        change: makes the request of the wall that of the column, for a picture of this prediction by the network of the
            wall; without a prediction the class stays open.
        detail: of the column, shown in each cell; None for the class that the map explains.
        classwise: whether it says which class is explained.
    """

    name: str
    title: str
    change: Callable[[Request, Prediction | None], Request]
    detail: str | None = None
    classwise: bool = False


def columns(choice: Choice) -> tuple[Column, ...] | Job[Any]:
    """Draws the controls; returns no columns where the methods stand side by side, or the job that they wait for."""
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        kind = segmented(
            "columns",
            _METHODS,
            _KINDS,
            label="Side by side",
            format_func=_KINDS.get,
            required=True,
            help=_HELP,
        )
    with right:
        if kind == "layers":
            return _layers(choice)
        if kind == "classes":
            return _classes(choice)
        if kind == "networks":
            return _networks(choice)
    return ()


def of_methods(choice: Choice) -> tuple[Column, ...]:
    """The chosen methods as columns."""
    return tuple(Column(one.name, one.title, partial(_by_method, one)) for one in choice.methods)


def with_method(method: Method, request: Request) -> Request:
    """The request with a method, and without preferences among references where it needs none."""
    request = replace(request, method=method)
    return request if method.needs_references() else replace(request, pinned=(), excluded=())


def _by_method(method: Method, request: Request, prediction: Prediction | None) -> Request:
    return with_method(method, request)


def stages(layers: Sequence[Layer]) -> list[str]:
    """The last layer of each resolution, the shallowest first."""
    return [[*group][-1].name for _, group in groupby(layers, lambda layer: (layer.height, layer.width))]


def _layers(choice: Choice) -> tuple[Column, ...] | Job[Any]:
    job = choice.layers()
    if job.result is None:
        st.caption("The layers are shown when the network is loaded.")
        return job
    shapes = {layer.name: layer.shape for layer in job.result}
    names = _several(
        f"layers.{choice.request.backbone}",
        stages(job.result)[-_MOST:],
        list(shapes),
        one_of(shapes),
        label="Layers",
        format_func=lambda name: f"{name} ({shapes[name]})",
        help="At first the last layer of each resolution. Early layers see edges and textures, late ones objects.",
    )
    chosen = [name for name in shapes if name in names]
    return tuple(Column(name, name, partial(_at_layer, name), shapes[name]) for name in chosen)


def _at_layer(name: str, request: Request, prediction: Prediction | None) -> Request:
    return replace(request, layer=name)


def _classes(choice: Choice) -> tuple[Column, ...] | Job[Any]:
    job = service().labels(choice.request.backbone, waiter())
    job.wait_for_result(_MOMENT)
    if job.result is None:
        st.caption("The classes are shown when the network is loaded.")
        return job
    labels = {str(index): label for index, label in enumerate(told_apart(job.result))}
    ranks = list(_RANKS)[: len(labels)]
    titles = {**_RANKS, _CHOSEN: "Chosen for each picture", **labels}
    names = _several(
        f"classes.{choice.request.backbone}",
        ranks[:2],
        [*ranks, _CHOSEN, *sorted(labels, key=labels.__getitem__)],
        one_of(titles),
        label="Classes",
        format_func=titles.__getitem__,
        help="The classes that the network thinks most probable for each picture, the one that you choose below it, or "
        "any others by their names.",
    )
    return tuple(
        Column(name, titles[name], partial(_for_class, name), classwise=name != _CHOSEN) for name in names
    )


def beside_the_predicted(backbone: str) -> None:
    """Has the wall show the predicted class beside that which is chosen for each picture."""
    turn("columns", "classes")
    turn(f"classes.{backbone}", [next(iter(_RANKS)), _CHOSEN])


def told_apart(labels: Sequence[str]) -> list[str]:
    """The names of classes, with the index where a name stands for several."""
    often = Counter(labels)
    return [f"{label} ({index})" if often[label] > 1 else label for index, label in enumerate(labels)]


def _for_class(name: str, request: Request, prediction: Prediction | None) -> Request:
    if prediction is None or name == _CHOSEN:
        return request
    ranks = list(_RANKS)
    return replace(request, target=prediction.top()[ranks.index(name)] if name in ranks else int(name))


def _networks(choice: Choice) -> tuple[Column, ...]:
    own = [model.identifier for model in backbones.own_models()]
    known = [*own, *backbones.names()]
    here = choice.request.backbone
    ready = [name for name in backbones.names() if name != here][:2]
    kept = view().seed("networks", [here, *ready], several(network(known), _MOST))
    names = _several(
        "networks",
        [here, *ready],
        list(dict.fromkeys([here, *known, *kept])),
        network(known),
        label="Networks",
        format_func=network_title,
        accept_new_options=True,
        help="Each at its last layer, the network of the sidebar at the layer chosen there. A class that is chosen for "
        "a picture is looked up by its name.",
    )

    return tuple(Column(name, name, partial(_in_network, here, name)) for name in names)


def _in_network(here: str, name: str, request: Request, prediction: Prediction | None) -> Request:
    if name == here:
        return request
    target = request.target
    label = prediction.labels[target] if prediction and isinstance(target, int) else target
    return replace(request, backbone=name, layer=None, target=label)


def _several(
    key: str,
    default: list[str],
    options: list[str],
    parse_one: Callable[[str], object],
    **arguments: object,
) -> list[str]:
    chosen: list[str] = bound(
        st.multiselect,
        key,
        default,
        several(parse_one, _MOST),
        ",".join,
        options=options,
        max_selections=_MOST,
        **arguments,
    )
    return chosen or default
