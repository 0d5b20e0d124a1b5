"""Points on a plane, each of which shows its thumbnail when it is pointed at; drawn in the browser."""

import base64
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from torch import Tensor

SIDE, COLUMNS = 64, 24  # of the contact sheet: pixels of a thumbnail, thumbnails in a row
_HERE = Path(__file__).parent
_plane = st.components.v2.component(
    "cam_explorer_plane",
    css=(_HERE / "plane.css").read_text("utf-8"),
    js=(_HERE / "plane.js").read_text("utf-8"),
)


def plane_chart(
    places: Tensor, titles: Sequence[str], notes: Sequence[str], sheet: bytes, alt: str, key: str
) -> None:
    """Draws points at ``places`` (n, 2), scaled to fit.

    Args:
        titles, notes: what is told of each point.
        sheet: a JPEG of all thumbnails, ``COLUMNS`` in a row, each of ``SIDE`` pixels.
    """
    low, high = (places.min(0).values, places.max(0).values) if len(places) else (places, places)
    scaled = (places - low) / (high - low).clamp(min=1e-9)
    _plane(
        key=key,
        data={
            "points": scaled.mul(1000).round().int().tolist(),
            "titles": list(titles),
            "notes": list(notes),
            "sheet": base64.b64encode(sheet).decode("ascii"),
            "columns": COLUMNS,
            "alt": alt,
        },
    )
