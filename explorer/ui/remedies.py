"""What to do about a map that is blank or not defined, as buttons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer.backbones import Layer, layer_called
from explorer.compute import Request
from explorer.images import Picture
from explorer.library import BUILT_IN, ON_THE_FLY
from explorer.methods import METHODS, Blank
from explorer.methods.base import ANY_MAP
from explorer.methods.shapley import LIMECAM
from explorer.ui.board import PREDICTED, Cell, target_key
from explorer.ui.canvas import Look
from explorer.ui.sidebar import Choice
from explorer.ui.view import turn, view

_EVERYWHERE = ("grad-cam", "layer-cam", "eigen-cam")  # defined at every layer of every network
_INSTEAD = {
    None: _EVERYWHERE[:2],
    Blank.CANCELS: _EVERYWHERE[:2],
    Blank.SATURATED: _EVERYWHERE[:2],
    Blank.AGAINST: _EVERYWHERE[1:2],
}


@dataclass(frozen=True)
class _Remedy:
    """A value of the view that may help."""

    title: str
    key: str
    value: Any


def remedies(
    blank: Blank | None, picture: Picture, cell: Cell, request: Request, choice: Choice, look: Look
) -> None:
    """Draws a button for whatever may help.

    Args:
        blank: why the map of the request is blank; None where its method is not defined.
    """
    found = [
        *_of_the_reason(blank, picture, request, look),
        *_layers(blank, cell, request, choice),
        *_methods(_INSTEAD.get(blank, ()), request, choice),
    ]
    for remedy in found or _last(request, choice):
        place = f"{picture.digest} {cell.method.name} {cell.place}"
        key = f"{remedy.title} {place}"
        st.button(
            remedy.title,
            key=key,
            on_click=turn,
            args=(remedy.key, remedy.value),
            help="Changes this choice for the whole page; it may bring a map.",
        )


def _of_the_reason(blank: Blank | None, picture: Picture, request: Request, look: Look) -> Iterator[_Remedy]:
    if blank is Blank.OVERFLOW and request.precision != "float32":
        yield _Remedy("Use full precision", "quick", False)
    if blank is Blank.AGAINST and look.view != "signed":
        yield _Remedy("Show the signed map", "look", replace(look, view="signed"))
    if blank in (Blank.AGAINST, Blank.SATURATED) and target_key(picture) in view().shown:
        yield _Remedy("Explain the predicted class", target_key(picture), PREDICTED)
    if blank is Blank.ALIKE:
        for library in (BUILT_IN, ON_THE_FLY):
            if library != request.library:
                yield _Remedy(f"Use the {library} library", "library", library)
    if blank is Blank.UNDEFINED:
        yield _Remedy("Follow the paper", f"{request.method.name}.official", False)
    if blank is Blank.PENALISED and isinstance(request.method, LIMECAM):
        if request.method.penalty > LIMECAM.penalty:
            yield _Remedy("Use the usual penalty", "lime-cam.penalty", LIMECAM.penalty)
        elif request.method.penalty == LIMECAM.penalty:
            yield _Remedy("Use a tenth of the penalty", "lime-cam.penalty", LIMECAM.penalty / 10)


def _layers(blank: Blank | None, cell: Cell, request: Request, choice: Choice) -> Iterator[_Remedy]:
    """Other layers: the deepest one, and the next that is finer."""
    known = choice.layers().result
    if not known or (blank is not None and blank not in ANY_MAP):
        return
    name = request.backbone
    if name != choice.request.backbone:
        if blank is not None:
            yield _Remedy(f"Choose a layer of {name} in the sidebar", "backbone", name)
        return
    here = layer_called(known, request.layer)
    wanted = {} if here is known[-1] else {"Use the deepest layer": known[-1].name}
    if blank is not None and (finer := _finer(known, here)):
        wanted[f"Use the layer {finer.name} ({finer.shape})"] = finer.name
    across = f"layers.{name}"
    for title, other in wanted.items():
        if cell.place != request.layer:
            yield _Remedy(title, f"layer.{name}", other)
        elif other not in view().values[across]:
            beside = [other if one == here.name else one for one in view().values[across]]
            yield _Remedy(title, across, beside)


def _finer(layers: Sequence[Layer], here: Layer) -> Layer | None:
    """The last layer before this one that has larger maps, else the one before it."""
    before = layers[: layers.index(here)]
    return next((one for one in reversed(before) if one.height > here.height), before[-1] if before else None)


def _methods(names: Sequence[str], request: Request, choice: Choice) -> Iterator[_Remedy]:
    """Methods that are not on the wall yet, in place of the one of the request."""
    chosen = [method.name for method in choice.methods]
    for name in names:
        if name not in chosen:
            others = [name if one == request.method.name else one for one in chosen]
            yield _Remedy(f"Use {METHODS[name].title} instead", "methods", others)


def _last(request: Request, choice: Choice) -> Iterator[_Remedy]:
    """Where nothing else changes anything: a method that is always defined, unless all of them stand beside."""
    left = [method.name for method in choice.methods if method.name != request.method.name]
    rest = _Remedy(f"Leave out {request.method.title}", "methods", left)
    yield next(_methods(_EVERYWHERE, request, choice), rest)
