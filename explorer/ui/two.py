"""Two maps of one picture side by side, and where they differ: of two methods, layers, classes or networks."""

from collections.abc import Sequence

import streamlit as st

from explorer.ui.board import Row, titled
from explorer.ui.canvas import Look
from explorer.ui.cells import draw_map, plain, summary
from explorer.ui.maps import difference_picture
from explorer.ui.view import selected, toggled

_WORDS = {
    "first": ("First map", "Orange in the difference where this one is higher."),
    "second": ("Second map", "Blue in the difference where this one is higher."),
}


def two_maps(rows: Sequence[Row], look: Look) -> None:
    """Draws the section, where there are two maps.

    Args:
        rows: of one picture.
    """
    picture, cells = rows[0].picture, titled(rows)
    if len(cells) < 2:
        return
    if not toggled(
        "two", label="Two maps and their difference", help="Any two maps of the picture, side by side."
    ):
        return
    titles = list(cells)
    places = st.columns(3)
    chosen: list[str] = []
    for place, key, words in zip(places, _WORDS, _WORDS.values(), strict=False):
        with place:
            title = selected(f"two.{key}", titles[len(chosen)], titles, label=words[0], help=words[1])
            chosen.append(title)
            made = cells[title].usable
            if made is None:
                st.caption("There is no map yet, or it is blank.")
                continue
            draw_map(picture, made, look, cell=cells[title], place=f"two {key}")
            st.caption(plain(f"{made.label}, {made.probability:.1%}"))
            st.markdown(summary(made, look))
    one, other = (cells[title].usable for title in chosen)
    if one and other:
        with places[2]:
            difference_picture(picture, one, other, (chosen[0], chosen[1]))
