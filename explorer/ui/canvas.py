"""The browser canvas: photographs, maps and the look they share, drawn without server round trips.

A photograph is sent once as JPEG and a map once as 8-bit values; `map.js` colours, blends and cuts them.
Every photograph and every map is its own component instance, so one that has not changed is not sent again.
Python hears only of a look that the user has settled on.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Self, get_args

import cv2
import numpy as np
import streamlit as st

from explorer.render.colour import COLOUR_MAPS, colour_table, diverging_levels, diverging_table
from explorer.render.views import Style, View
from explorer.ui.style import style

VIEWS = {
    "overlay": "Overlay",
    "wipe": "Wipe",
    "heat": "Heat map",
    "signed": "Signed",
    "cut": "At the cut",
    "outline": "Outline",
}
SCALES = {"own": "Each map its own", "shared": "One for each method"}
Crop = tuple[float, float, float, float]
"""Left, top, right and bottom of the model's view, in fractions of the picture; may pass 0..1 a little."""

_PERCENTAGES = {str(percentage): percentage for percentage in range(101)}
_HIGHEST = 420  # pixels, of a picture; canvas.css says so too
_HERE = Path(__file__).parent
_SCRIPTS = ("element", "picture", "levels", "map", "box", "look", "canvas")
_canvas = st.components.v2.component(
    "cam_explorer_canvas",
    css=(_HERE / "canvas.css").read_text("utf-8"),
    js="".join((_HERE / f"{name}.js").read_text("utf-8") for name in _SCRIPTS),
)


@dataclass(frozen=True)
class Look:
    """How every map on the page is shown.

    `view` is a key of `VIEWS`, `colour_map` a key of `COLOUR_MAPS`, `opacity` a percentage (0-100),
    `cut` the percentage of the area removed (0-100), or None for the cut recommended for each map, and
    `scale` a key of `SCALES`.
    """

    view: str = "overlay"
    colour_map: str = "inferno"
    opacity: int = 55
    cut: int | None = None
    scale: str = "own"

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Read a look from untrusted values (a URL, the browser); whatever is not valid takes its default."""
        view, colour_map, scale = (str(raw.get(name)) for name in ("view", "colour_map", "scale"))
        return cls(
            view=view if view in VIEWS else cls.view,
            colour_map=colour_map if colour_map in COLOUR_MAPS else cls.colour_map,
            opacity=_PERCENTAGES.get(str(raw.get("opacity")), cls.opacity),
            cut=_PERCENTAGES.get(str(raw.get("cut"))),
            scale=scale if scale in SCALES else cls.scale,
        )

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Reads what ``to_text`` wrote, or the beginning of it; None where a part of it is not valid."""
        parts = text.split("-")
        look = cls.parse(dict(zip((item.name for item in fields(cls)), parts, strict=False)))
        return look if look.to_text().split("-")[: len(parts)] == parts else None

    def to_text(self) -> str:
        return "-".join(map(str, astuple(self)))

    @property
    def style(self) -> Style:
        """The same for a picture file, where a wipe is an overlay."""
        views: tuple[View, ...] = get_args(View)
        view: View = next((one for one in views if one == self.view), "overlay")
        return Style(view, self.colour_map, self.opacity / 100, self.cut, self.scale == "shared")


def look_bar(look: Look, key: str, on_change: Callable[[], None]) -> Look:
    """Draw the toolbar that sets the look of the whole page and return the look last settled on.

    `look` is where the toolbar starts; from then on the user decides, and a rerun never moves the controls.
    Use another `key` to impose another look. `on_change` is called when the user lets go of a control.
    """
    settled = (st.session_state.get(key) or {}).get("look")
    look = Look.parse(settled) if isinstance(settled, Mapping) else look
    _canvas(
        key=key,
        data={
            "kind": "look",
            "key": key,
            "look": asdict(look),
            "views": VIEWS,
            "scales": SCALES,
            "tables": _encoded_tables(),
            "diverging": _base64(diverging_table().tobytes()),
        },
        on_look_change=on_change,
    )
    return look


def photo(identifier: str, jpeg: bytes, width: int, height: int, crop: Crop, alt: str, key: str) -> None:
    """Draw a photograph with the model's crop outlined, and publish it to the maps that name `identifier`.

    `width` and `height` are the picture's size in pixels; `jpeg` may hold a smaller version of it.
    """
    _keep_room(key, width / height)
    _canvas(
        key=key,
        data={
            "kind": "photo",
            "identifier": identifier,
            "jpeg": _base64(jpeg),
            "width": width,
            "height": height,
            "crop": crop,
            "alt": alt,
        },
    )


def map_cell(
    identifier: str,
    photo: str,
    saliency: np.ndarray,
    crop: Crop,
    recommended: float | None,
    fill: tuple[int, int, int],
    alt: str,
    key: str,
    dimmed: bool = False,
    view: str | None = None,
    curve: Sequence[tuple[float, float]] = (),
    signed: np.ndarray | None = None,
    method: str | None = None,
    extent: tuple[float, float] | None = None,
) -> None:
    """Draw a map on the photograph published as `photo`, whichever of the two arrives first.

    `saliency` is (H, W), in 0..1, and covers `crop`. `recommended` is the fraction of the area (0..1) that
    the recommended cut removes, lowest values first; with None the map is never cut.
    `fill` is the colour (R, G, B in 0..255) that stands for removed pixels.
    `dimmed` marks the map as an earlier result, to be replaced soon.
    `view` fixes one of `VIEWS` for this map, whatever the look says.
    `curve` holds (percentage of the area removed, probability of the class) in ascending order, for the readout.
    `signed` is (h, w), of any range and no larger than `saliency`: what the view "signed" shows, enlarged. It is to be
    sent while the look says so; until it comes the map is shown dimmed.
    `method` is its name in words: where the look says so, maps of one name share a scale, in the units of `extent`, the
    values that 0 and 1 of the map stand for (None if there are no such units).
    """
    for values in (saliency, signed):
        if values is not None and (values.ndim != 2 or not np.isfinite(values).all()):
            raise ValueError(f"a map must be two-dimensional and finite, got shape {values.shape}")
    height, width = saliency.shape
    _keep_room(key, width * (crop[3] - crop[1]) / (height * (crop[2] - crop[0])))
    _canvas(
        key=key,
        data={
            "kind": "map",
            "identifier": identifier,
            "photo": photo,
            "width": width,
            "height": height,
            "values": _base64(np.rint(255 * np.clip(saliency, 0, 1)).astype(np.uint8).tobytes()),
            "crop": crop,
            "recommended": recommended,
            "fill": fill,
            "alt": alt,
            "dimmed": dimmed,
            "view": view,
            "curve": list(curve),
            "signed": None if signed is None else _signed(signed, width, height),
            "method": method,
            "extent": extent,
        },
    )


def _signed(values: np.ndarray, width: int, height: int) -> dict[str, Any]:
    """A signed map enlarged, in levels from 0 to 254 with zero at 127, and the value at which they end."""
    enlarged = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    levels, reach = diverging_levels(np.asarray(enlarged, np.float32))
    return {"values": _base64(levels.tobytes()), "reach": reach, "negative": bool(values.min() < 0)}


def box_picker(photo: str, crop: Crop, start: Crop, alt: str, key: str) -> Crop:
    """Let the visitor draw a box on the photograph published as `photo`; return it, in fractions of the picture.

    `start` is the box until one is drawn.
    """
    _canvas(
        key=key,
        data={"kind": "box", "identifier": key, "photo": photo, "crop": crop, "box": start, "alt": alt},
        on_box_change=lambda: None,
    )
    drawn = (st.session_state.get(key) or {}).get("box")
    return parse_box(drawn) or start


def parse_box(raw: Any) -> Crop | None:
    """A box of untrusted values: left, top, right and bottom in fractions of the picture; None if it is none."""
    try:
        left, top, right, bottom = (float(value) for value in raw)
    except (TypeError, ValueError):
        return None
    inside = 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    return (left, top, right, bottom) if inside else None


def _keep_room(key: str, aspect: float) -> None:
    """The room of a picture, width over height, is there before the browser has mounted what draws it."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "-", key)  # as Streamlit does
    style(f".st-key-{name} {{ aspect-ratio: {aspect:.4f}; max-width: {_HIGHEST * aspect:.0f}px }}")


@cache
def _encoded_tables() -> dict[str, str]:
    return {name: _base64(colour_table(name).tobytes()) for name in COLOUR_MAPS}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
