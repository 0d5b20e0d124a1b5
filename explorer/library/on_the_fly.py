"""A reference library without a store: made of the explained picture itself and of the built-in photographs."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from explorer import images
from explorer.backbones import Cut
from explorer.images import Picture
from explorer.library.records import records
from explorer.library.shard import Shard
from explorer.library.sources import Source
from explorer.library.store import ON_THE_FLY, Library, in_memory

_SHUFFLES = 8
_TILES = 4
_BORDER = 0.35
"""Side of a piece cut from the picture's border, in short sides."""

SIZE = _SHUFFLES + 8 + 1 + len(images.SAMPLES)


def from_picture(cut: Cut, picture: Picture, progress: Callable[[int, int], None] | None = None) -> Library:
    """The library of a picture: its tiles in random order, pieces of its border, itself blurred, and the samples.

    What no longer looks like the class to the network serves as a reference of it; what still does is left out, as
    any other picture of that class. Equal pictures give equal libraries.

    Args:
        progress: called with (pictures done, pictures in all); may raise to cancel.
    """
    made = sources(picture)
    parts: list[Shard] = []
    for start in range(0, len(made), cut.backbone.batch):
        chunk = made[start : start + cut.backbone.batch]
        parts += records([cut], [(source, source.read()) for source in chunk])
        if progress is not None:
            progress(start + len(chunk), len(made))
    content = hashlib.sha256(f"{ON_THE_FLY} {picture.digest} {cut.fingerprint}".encode()).hexdigest()
    return in_memory(
        cut, ON_THE_FLY, "the picture itself and the sample photographs", content, Shard.merged(parts)
    )


def sources(picture: Picture) -> list[Source]:
    """What the library of a picture is made of, in a fixed order; none bears the picture's own digest."""
    short, width, height = min(picture.width, picture.height), picture.width, picture.height
    side = max(1, round(_BORDER * short))
    across, down = (width - side) // 2, (height - side) // 2
    places = [(x, y) for y in (0, down, height - side) for x in (0, across, width - side)]
    border = places[:4] + places[5:]
    made: list[tuple[str, Callable[[Picture], np.ndarray]]] = [
        *((f"tiles {seed + 1}", partial(_shuffled, seed=seed)) for seed in range(_SHUFFLES)),
        *((f"border {i + 1}", partial(_piece, left=x, top=y, side=side)) for i, (x, y) in enumerate(border)),
        ("blurred", _blurred),
    ]
    own = [Source(name, partial(_changed, picture, name, change)) for name, change in made]
    return own + [Source(name, partial(images.sample, name)) for name in images.SAMPLES]


def _changed(picture: Picture, name: str, change: Callable[[Picture], np.ndarray]) -> Picture:
    return replace(picture, digest=f"{picture.digest} {name}", pixels=np.ascontiguousarray(change(picture)))


def _shuffled(picture: Picture, seed: int) -> np.ndarray:
    rows, columns = picture.height // _TILES, picture.width // _TILES
    if not rows or not columns:
        return picture.pixels
    kept = picture.pixels[: rows * _TILES, : columns * _TILES]
    tiles = kept.reshape(_TILES, rows, _TILES, columns, 3).swapaxes(1, 2).reshape(-1, rows, columns, 3)
    tiles = tiles[np.random.default_rng(seed).permutation(len(tiles))]
    return tiles.reshape(_TILES, _TILES, rows, columns, 3).swapaxes(1, 2).reshape(kept.shape)


def _piece(picture: Picture, left: int, top: int, side: int) -> np.ndarray:
    return picture.pixels[top : top + side, left : left + side]


def _blurred(picture: Picture) -> np.ndarray:
    radius = 0.08 * min(picture.width, picture.height)
    return np.asarray(Image.fromarray(picture.pixels).filter(ImageFilter.GaussianBlur(radius)))
