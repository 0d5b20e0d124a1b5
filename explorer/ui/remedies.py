"""What to do about a blank map, as buttons."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.compute import Explanation
from explorer.images import Picture
from explorer.library import BUILT_IN, ON_THE_FLY
from explorer.methods import METHODS, Blank
from explorer.methods.shapley import LIMECAM
from explorer.ui.board import PREDICTED, Cell, target_key
from explorer.ui.sidebar import Choice
from explorer.ui.view import turn, view


@dataclass(frozen=True)
class _Remedy:
    """A value of the view that may help."""

    title: str
    key: str
    value: Any


def why_blank(picture: Picture, cell: Cell, explanation: Explanation, choice: Choice) -> None:
    """Says why a map is blank, with a button for each remedy."""
    blank = explanation.attribution.blank
    assert blank is not None
    st.warning(f"**Blank map.** {blank}")
    for remedy in _remedies(blank, picture, cell, explanation, choice):
        place = f"{picture.digest} {cell.method.name} {cell.place}"
        key = f"{remedy.title} {place}"
        st.button(
            remedy.title,
            key=key,
            on_click=turn,
            args=(remedy.key, remedy.value),
            help="Changes this choice for the whole page; it may bring a map.",
        )


def _remedies(
    blank: Blank, picture: Picture, cell: Cell, explanation: Explanation, choice: Choice
) -> Iterator[_Remedy]:
    """Those that change anything."""
    request = explanation.request
    layers = choice.layers().result
    instead = {Blank.CANCELS: ("grad-cam", "layer-cam"), Blank.SATURATED: ("grad-cam",)}
    if blank is Blank.OVERFLOW and request.precision != "float32":
        yield _Remedy("Use full precision", "quick", False)
    shallow = request.layer is not None and not cell.place
    if blank in (Blank.OVERFLOW, Blank.SILENT, Blank.AGAINST, Blank.FLAT) and shallow and layers:
        yield _Remedy("Use the deepest layer", f"layer.{request.backbone}", layers[-1].name)
    if blank in (Blank.AGAINST, Blank.SATURATED) and target_key(picture) in view().shown:
        yield _Remedy("Explain the predicted class", target_key(picture), PREDICTED)
    if blank is Blank.ALIKE:
        for library in (BUILT_IN, ON_THE_FLY):
            if library != request.library:
                yield _Remedy(f"Use the {library} library", "library", library)
    if blank is Blank.UNDEFINED:
        yield _Remedy("Follow the paper", f"{request.method.name}.official", False)
    if blank is Blank.PENALISED:
        yield _Remedy("Use the usual penalty", "lime-cam.penalty", LIMECAM.penalty)
    chosen = [method.name for method in choice.methods]
    for name in instead.get(blank, ()):
        if name not in chosen:
            others = [name if one == request.method.name else one for one in chosen]
            yield _Remedy(f"Use {METHODS[name].title} instead", "methods", others)
