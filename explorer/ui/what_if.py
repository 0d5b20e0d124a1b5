"""A part of a picture changed, as the visitor chooses on its photograph."""

from typing import Any

import streamlit as st

from explorer.compute import Job
from explorer.edits import EDITS
from explorer.images import Picture
from explorer.ui.canvas import Crop, box_picker, parse_box
from explorer.ui.state import service, waiter
from explorer.ui.view import REFUSED, picture_key, view

_NOTHING = "nothing"
_MIDDLE = (0.4, 0.4, 0.6, 0.6)
_TITLES = {
    _NOTHING: "Nothing",
    "grey": "Grey it out",
    "blur": "Blur it",
    "paint": "Paint it over",
    "keep": "Keep only it",
}
Wish = tuple[str, Crop]


def changed(picture: Picture) -> Job[Picture] | None:
    """The picture with the part changed that the visitor has drawn; None where nothing is to be changed."""
    edit, box = _wish(picture)
    return service().edited(picture, box, edit, waiter()) if edit in EDITS else None


def what_if(picture: Picture, crop: Crop) -> None:
    """Draws the popover in which the part and the change are chosen."""
    former = _wish(picture)
    with st.popover(
        "What if …", width="stretch", help="Change a part of the picture and see what becomes of the maps."
    ):
        edit = st.radio(
            "Change a part of the picture",
            list(_TITLES),
            index=list(_TITLES).index(former[0]),
            format_func=_TITLES.get,
            key=f"edit {picture.digest}",
            help="The changed picture gets a row of its own: its maps explain the same class.",
        )
        box = box_picker(
            picture.digest,
            crop,
            former[1],
            f"{picture.name}: draw the part by dragging; arrow keys move it, with Shift they resize it",
            key=f"part {picture.digest}",
        )
    wish = (edit or _NOTHING, box)
    view().keep(picture_key("what", picture), wish, (_NOTHING, box), _written)
    if wish != former and {wish[0], former[0]} != {_NOTHING}:
        st.rerun()


def _wish(picture: Picture) -> Wish:
    wish: Wish = view().seed(picture_key("what", picture), (_NOTHING, _MIDDLE), _read)
    return wish


def _read(text: str) -> Any:
    edit, _, sides = text.partition(":")
    box = parse_box(sides.split(","))
    return (edit, box) if edit in EDITS and box else REFUSED


def _written(wish: Wish) -> str:
    return f"{wish[0]}:{','.join(f'{side:g}' for side in wish[1])}"
