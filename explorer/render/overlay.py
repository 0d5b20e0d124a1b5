"""A map over its photograph as a picture file."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.images import Picture
from explorer.render.colour import colour_table, diverging_levels, diverging_table

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
    table = colour_table(colour_map)
    return laid_over(
        picture,
        box,
        saliency,
        lambda values: (table[np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)], opacity),
    )


def laid_over(
    picture: Picture,
    box: Box,
    values: NDArray[np.float32],
    paint: Callable[[NDArray[np.float32]], tuple[NDArray[np.uint8], NDArray[np.floating] | float]],
) -> Image.Image:
    """The whole photograph with what is made of values (H, W) laid over the network's crop, which is outlined.

    Args:
        box: as of ``overlay``.
        paint: from the values at each pixel of the crop (h, w) to colours, which broadcast to (h, w, 3), and to their
            opacity, 0 to 1, which broadcasts to (h, w).
    """
    width, height = picture.width, picture.height
    corners = [round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)]
    left, top = corners[:2]
    right, bottom = max(corners[2], left + 1), max(corners[3], top + 1)
    across, down = right - left, bottom - top
    resized = Image.fromarray(values).resize((across, down), Image.Resampling.BILINEAR)
    colours, opacity = paint(np.asarray(resized))
    mask = np.rint(255 * np.broadcast_to(np.clip(opacity, 0, 1), (down, across))).astype(np.uint8)
    painted = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (down, across, 3))))
    result = picture.image.copy()
    result.paste(painted, (left, top), Image.fromarray(mask))
    ImageDraw.Draw(result).rectangle((left, top, right - 1, bottom - 1), outline="white")
    return result


def seen(picture: Picture, box: Box, size: tuple[int, int]) -> Picture:
    """The network's crop alone, at the ``size`` (height, width) of its maps."""
    left, top, right, bottom = box
    width, height = picture.width, picture.height
    cropped = picture.image.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )
    scaled = cropped.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2)
    return replace(picture, pixels=np.asarray(scaled))


def difference(
    picture: Picture, one: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[Image.Image, float]:
    """One map less another, both (H, W), over the grey photograph of that size, and the largest absolute difference.

    That difference has the full colour: orange where the first map is higher, blue where the other is.
    """
    levels, reach = diverging_levels(one - other)
    grey = picture.image.convert("L").convert("RGB")
    return Image.blend(grey, Image.fromarray(diverging_table()[levels]), 0.7), reach


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


def contact_sheet(thumbnails: Sequence[NDArray[np.uint8]], side: int, columns: int) -> bytes:
    """Thumbnails (h, w, 3) as one JPEG, row by row, each reduced to a square of so many pixels."""
    rows = -(-len(thumbnails) // columns)
    sheet = Image.new("RGB", (columns * side, max(1, rows) * side))
    for number, thumbnail in enumerate(thumbnails):
        small = Image.fromarray(thumbnail).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
        sheet.paste(small, (number % columns * side, number // columns * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
