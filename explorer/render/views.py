"""A map on its photograph as a picture file, in each of the ways in which the page shows it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.calibration import cut_map
from explorer.compute import Explanation
from explorer.images import Picture
from explorer.methods import Blank
from explorer.render.colour import diverging_levels, diverging_table
from explorer.render.overlay import laid_over, overlay
from explorer.render.scale import Ends, scaled

View = Literal["overlay", "heat", "signed", "cut", "outline"]

_SHADE = 150 / 255  # opacity of the black over what an outline leaves out
_THINNEST = 150  # lines of an outline side by side make the short side of what the network sees


@dataclass(frozen=True)
class Style:
    """How maps are drawn.

    Args:
        view: the map over the photograph, the map alone, the signed map alone, the photograph where the map keeps it at
            the cut, or that part outlined.
        colour_map: a key of ``COLOUR_MAPS``; ``opacity`` of an overlay, 0 to 1.
        cut: percent of the area removed, None for what is recommended for each map.
        shared: whether all maps of a method share one scale of colours, instead of each its own.
    """

    view: View = "overlay"
    colour_map: str = "inferno"
    opacity: float = 0.55
    cut: int | None = None
    shared: bool = False


def nothing_to_see(explanation: Explanation, view: View) -> bool:
    """Whether a map is blank; one that speaks against the class has a signed map."""
    blank = explanation.attribution.blank
    return blank is not None and not (view == "signed" and blank is Blank.AGAINST)


def drawn(picture: Picture, explanation: Explanation, style: Style, ends: Ends | None = None) -> Image.Image:
    """The whole photograph with the map laid over the network's crop, which is outlined.

    A blank map is an overlay whatever the view.

    Args:
        ends: the values that the colours end at; None for those of the map.
    """
    box, view = explanation.box, style.view
    if nothing_to_see(explanation, view) or view in ("overlay", "heat"):
        opacity = 1.0 if view == "heat" else style.opacity
        return overlay(picture, scaled(explanation, ends), box, style.colour_map, opacity)
    if view == "signed":
        return laid_over(
            picture, box, explanation.attribution.signed.numpy(), lambda values: (_signed(values, ends), 1.0)
        )
    saliency = explanation.attribution.saliency
    kept = cut_map(saliency, _cut(explanation, style.cut))
    if view == "cut":
        fill = np.array(explanation.fill, np.uint8)
        return laid_over(picture, box, kept.numpy(), lambda values: (fill, 1 - values))
    lowest = float(kept[kept > 0].min()) if kept.any() else np.inf
    return laid_over(picture, box, saliency.numpy(), lambda values: _outline(values >= lowest))


def _cut(explanation: Explanation, chosen: int | None) -> int:
    if chosen is not None:
        return chosen
    return explanation.calibration.cut if explanation.calibration else 0


def _signed(values: NDArray[np.float32], ends: Ends | None) -> NDArray[np.uint8]:
    levels, _ = diverging_levels(values, ends[1] if ends else None)
    return diverging_table()[levels]


def _outline(kept: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """White inside the rim of what is kept (h, w), and a shade over the rest."""
    line = 2 * max(1, min(kept.shape) // _THINNEST) + 1
    inside = cv2.erode(kept.astype(np.uint8), np.ones((line, line), np.uint8)) > 0
    rim = kept & ~inside
    return np.where(rim[..., None], np.uint8(255), np.uint8(0)), np.where(kept, rim * 1.0, _SHADE)
