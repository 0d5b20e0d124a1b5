"""A tensor as it is: a colour for each of its cells, none of them blended with the next."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.render.colour import colour_table, diverging_levels, diverging_table
from explorer.render.overlay import jpeg


def shades(values: NDArray[np.float32], *, signed: bool = False) -> NDArray[np.uint8]:
    """The colours (h, w, 3) of a tensor (h, w): from its lowest to its highest value, or where the sign counts from
    blue over white at zero to orange."""
    if signed:
        return diverging_table()[diverging_levels(values)[0]]
    low, high = float(values.min()), float(values.max())
    return colour_table("inferno")[np.rint(255 * (values - low) / ((high - low) or 1)).astype(np.uint8)]


def cells(values: NDArray[np.float32], side: int, *, signed: bool = False) -> bytes:
    """A tensor (h, w) as a JPEG whose longer side has so many pixels."""
    drawn = Image.fromarray(shades(values, signed=signed))
    scale = side / max(drawn.size)
    size = max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))
    return jpeg(drawn.resize(size, Image.Resampling.NEAREST), side)
