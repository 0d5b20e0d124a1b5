"""What if: a picture of which a part is changed, to see what the network then says and where it looks."""

import hashlib
from dataclasses import replace
from pathlib import PurePath
from typing import Literal, get_args

import numpy as np
from PIL import ImageFilter

from explorer.images import Picture

Edit = Literal["grey", "blur", "paint", "keep"]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in fractions of a picture."""
EDITS: tuple[Edit, ...] = get_args(Edit)
_GREY = 127
_STRENGTH = 12  # the short side of the picture, in radii of the blur


def edited(picture: Picture, box: Box, edit: Edit) -> Picture:
    """The picture with a part of it changed; its digest follows from that of the picture, the box and the edit.

    Args:
        box: of the part, rounded to thousandths of the picture; at least a pixel.
        edit: ``grey`` fills it with middle grey, ``paint`` with the mean colour of what is around it, ``blur`` leaves
            its colours alone, and ``keep`` fills all around it with middle grey.
    """
    width, height = picture.width, picture.height
    left, top, right, bottom = (round(side, 3) for side in box)
    first_row, first_column = min(round(top * height), height - 1), min(round(left * width), width - 1)
    inside = np.zeros((height, width), bool)
    inside[
        first_row : max(round(bottom * height), first_row + 1),
        first_column : max(round(right * width), first_column + 1),
    ] = True
    pixels = picture.pixels.copy()
    if edit == "grey":
        pixels[inside] = _GREY
    elif edit == "keep":
        pixels[~inside] = _GREY
    elif edit == "paint":
        around = pixels[~inside] if not inside.all() else pixels[inside]
        pixels[inside] = np.rint(around.mean(0)).astype(np.uint8)
    else:
        blur = ImageFilter.GaussianBlur(min(width, height) / _STRENGTH)
        pixels[inside] = np.asarray(picture.image.filter(blur))[inside]
    pixels.flags.writeable = False
    sides = " ".join(f"{side:.3f}" for side in box)
    digest = hashlib.sha256(f"{picture.digest} {edit} {sides}".encode()).hexdigest()
    path = PurePath(picture.name)
    name = f"{path.stem}, {_WORDS[edit]}{path.suffix}"
    return replace(picture, name=name, digest=digest, pixels=pixels)


_WORDS: dict[Edit, str] = {
    "grey": "greyed out",
    "blur": "blurred",
    "paint": "painted over",
    "keep": "a part kept",
}
