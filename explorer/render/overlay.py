"""A map over its photograph as a picture file."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.images import Picture
from explorer.render.colour import colour_table

Box = tuple[float, float, float, float]


def overlay(
    picture: Picture,
    saliency: NDArray[np.float32],
    box: Box,
    colour_map: str = "inferno",
    opacity: float = 0.55,
) -> Image.Image:
    """The whole photograph with the map (H, W) in [0, 1] laid over the network's crop, which is outlined.

    Args:
        box: the crop as fractions of the picture (left, top, right, bottom).
        opacity: of the map, 0 to 1.
    """
    width, height = picture.width, picture.height
    corners = [round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)]
    left, top = corners[:2]
    right, bottom = max(corners[2], left + 1), max(corners[3], top + 1)
    scaled = Image.fromarray(saliency).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    values = np.rint(255 * np.clip(np.asarray(scaled), 0, 1)).astype(np.uint8)
    colours = Image.fromarray(colour_table(colour_map)[values])
    result = picture.image.copy()
    result.paste(colours, (left, top), Image.new("L", colours.size, round(255 * opacity)))
    ImageDraw.Draw(result).rectangle((left, top, right - 1, bottom - 1), outline="white")
    return result


def jpeg(image: Image.Image, longest: int) -> bytes:
    """The image as JPEG, reduced so that no side is longer than this."""
    reduced = image.copy()
    reduced.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    reduced.save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
