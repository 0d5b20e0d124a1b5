"""Where the objects of a data set's entry lie in the frame of a network's input."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from explorer.backbones import Preprocessing
from explorer.dataset import Corners, DatasetError, Entry
from explorer.images import Picture
from explorer.metrics import Objects, centres


def region(entry: Entry, target: int, preprocessing: Preprocessing, picture: Picture) -> Tensor | None:
    """Where objects of a class are: (H, W) bool over the network's input; None where the entry does not tell.

    It is read from the mask where there is one, by its nearest pixel, else from the boxes: a pixel is in a box when
    its centre is. All False says that the network sees no object of this class.

    Args:
        target: class index.
        picture: the entry's, decoded; only its size is used.

    Raises:
        DatasetError: the mask cannot be read.
    """
    crop, size = preprocessing.box(picture), preprocessing.crop
    if entry.mask is not None:
        values = _mask_values(entry)
        y, x = centres(crop, size)
        (rows, within_rows), (columns, within_columns) = (
            ((places * side).long().clamp(0, side - 1), (places >= 0) & (places < 1))
            for places, side in zip((y, x), values.shape, strict=True)
        )
        found = values[rows][:, columns] == target + 1
        return found & within_rows[:, None] & within_columns
    if not entry.boxes:
        return None
    inside = torch.zeros(size, dtype=torch.bool)
    for box in entry.boxes:
        if box.label in (None, target):
            inside |= Objects.inside((box.left, box.top, box.right, box.bottom), crop, size).region
    return inside


def boxes_seen(
    entry: Entry, target: int, preprocessing: Preprocessing, picture: Picture
) -> tuple[Corners, ...]:
    """The boxes of a class as (left, top, right, bottom) in pixels of the network's input, cut off at its rim.

    Boxes without a label are of every class. Those of which nothing is seen are left out.
    """
    left, top, right, bottom = preprocessing.box(picture)
    height, width = preprocessing.crop
    seen = []
    for box in entry.boxes:
        if box.label in (None, target):
            x0, x1 = (_clipped((side - left) / (right - left), width) for side in (box.left, box.right))
            y0, y1 = (_clipped((side - top) / (bottom - top), height) for side in (box.top, box.bottom))
            if x0 < x1 and y0 < y1:
                seen.append((x0, y0, x1, y1))
    return tuple(seen)


def _clipped(fraction: float, side: int) -> float:
    return min(max(fraction, 0.0), 1.0) * side


def _mask_values(entry: Entry) -> Tensor:
    assert entry.mask is not None
    try:
        with Image.open(entry.mask, formats=("PNG",)) as image:
            if image.mode not in ("P", "L"):
                raise ValueError(f"its mode is {image.mode}")
            return torch.from_numpy(np.array(image))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{entry.mask} cannot be read as a mask ({error}): it must be a PNG with a palette, as in Pascal VOC."
        ) from error
