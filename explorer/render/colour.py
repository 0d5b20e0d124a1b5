"""Colour tables for maps: value v in [0, 1] takes row round(255 v), with no gamma and no squaring."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

COLOUR_MAPS: dict[str, int | None] = {
    "inferno": cv2.COLORMAP_INFERNO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "magma": cv2.COLORMAP_MAGMA,
    "greys": None,
}

# Blue below, white at and orange above zero: told apart by colour-blind readers, and dark text can be read on all.
DIVERGING = ((56, 146, 208), (255, 255, 255), (230, 118, 28))


@cache
def diverging_table() -> NDArray[np.uint8]:
    """The colours (255, 3) uint8, RGB, of values from -1 to 1; row 127 is zero."""
    places = np.linspace(-1, 1, 255)
    channels = [np.interp(places, (-1, 0, 1), channel) for channel in zip(*DIVERGING, strict=True)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def diverging_levels(
    values: NDArray[np.float32], reach: float | None = None
) -> tuple[NDArray[np.uint8], float]:
    """The row of ``diverging_table`` for each of the values, of any range, and the reach: the magnitude that stands at
    an end of the table, their largest if none is given; zero is always row 127."""
    reach = float(np.abs(values).max()) if reach is None else reach
    return np.rint(127 * (1 + values / (reach or 1))).astype(np.uint8), reach


@cache
def colour_table(name: str) -> NDArray[np.uint8]:
    """The colours (256, 3) uint8, RGB, of a key of ``COLOUR_MAPS``."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    code = COLOUR_MAPS[name]
    if code is None:
        return np.repeat(ramp, 3, axis=1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp, code).reshape(256, 3)[:, ::-1], np.uint8)
