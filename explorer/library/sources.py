"""What a library can be made of: photographs of a data set, pictures at hand, crops of the samples, textures."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from explorer import images
from explorer.dataset import Entry
from explorer.images import Picture

_CROPS = 20
_TEXTURE = 256  # pixels a side
_TEXTURE_KINDS = 4


@dataclass(frozen=True)
class Source:
    """A picture to take into a library.

    Args:
        identifier: unique in the library.
        read: makes the picture; may raise ``ImageError``.
        labels: its classes where known; of several the one that the network finds most probable counts.
        stamp: changes when the file does.
    """

    identifier: str
    read: Callable[[], Picture]
    labels: tuple[int, ...] = ()
    stamp: str = ""


def built_in() -> list[Source]:
    """Seeded square crops of the sample photographs, 35 to 100% of the short side, unlabelled."""
    generator = np.random.default_rng(0)
    sources = []
    for identifier in images.SAMPLES:
        for number in range(_CROPS):
            scale, x, y = 0.35 + 0.65 * generator.random(), *generator.random(2)
            sources.append(
                Source(f"{identifier} {number + 1:02}", partial(_crop, identifier, scale, x, y), stamp="crop")
            )
    return sources


BUILT_IN_SOURCE = f"{_CROPS} crops of each of {len(images.SAMPLES)} sample photographs"


def from_entries(entries: Iterable[Entry]) -> list[Source]:
    """The pictures of a data set, with their classes."""
    return [
        Source(
            entry.identifier.encode(errors="replace").decode(),
            partial(images.load, entry.path),
            entry.labels,
            _stamp(entry),
        )
        for entry in entries
    ]


def from_pictures(pictures: Sequence[Picture]) -> list[Source]:
    """Pictures that are at hand, equal ones once."""
    return [
        Source(f"{picture.name} ({digest[:8]})", partial(_same, picture), stamp=digest)
        for digest, picture in {picture.digest: picture for picture in pictures}.items()
    ]


def textures(count: int) -> list[Source]:
    """Seeded textures without an object: coloured noise, gratings, cells and gradients, one of each in turn."""
    return [
        Source(f"texture {number + 1:04}", partial(_texture, number), stamp="1") for number in range(count)
    ]


def _stamp(entry: Entry) -> str:
    with suppress(OSError):
        status = entry.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"
    return ""


def _same(picture: Picture) -> Picture:
    return picture


def _crop(identifier: str, scale: float, x: float, y: float) -> Picture:
    picture = images.sample(identifier)
    side = round(scale * min(picture.width, picture.height))
    left, top = round(x * (picture.width - side)), round(y * (picture.height - side))
    return Picture(picture.name, picture.digest, picture.pixels[top : top + side, left : left + side])


def _texture(number: int) -> Picture:
    generator = np.random.default_rng(number)
    kind = (_noise, _grating, _cells, _gradient)[number % _TEXTURE_KINDS]
    values = kind(generator)
    low, high = values.min((0, 1)), values.max((0, 1))
    pixels = ((values - low) / np.where(high > low, high - low, 1) * 255).astype(np.uint8)
    ends = generator.integers(0, 256, (2, 3))
    coloured = ends[0] + pixels / 255 * (ends[1] - ends[0])
    return Picture(f"texture {number + 1:04}", f"texture {number}", coloured.astype(np.uint8))


def _noise(generator: np.random.Generator) -> NDArray[np.float64]:
    """(side, side, 1): amplitude falls with frequency, as in photographs."""
    spectrum = np.fft.fft2(generator.standard_normal((_TEXTURE, _TEXTURE)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_TEXTURE), np.fft.fftfreq(_TEXTURE)))
    frequency[0, 0] = 1
    return np.fft.ifft2(spectrum / frequency ** generator.uniform(0.5, 2)).real[:, :, None]


def _grating(generator: np.random.Generator) -> NDArray[np.float64]:
    across, down = np.meshgrid(*[np.linspace(0, 2 * np.pi, _TEXTURE)] * 2)
    angle, periods = generator.uniform(0, np.pi), generator.uniform(3, 40)
    return np.sin(periods * (across * np.cos(angle) + down * np.sin(angle)))[:, :, None]


def _cells(generator: np.random.Generator) -> NDArray[np.float64]:
    """The distance to the nearest of scattered points."""
    points = generator.uniform(0, _TEXTURE, (generator.integers(10, 120), 2))
    grid = np.stack(np.meshgrid(*[np.arange(_TEXTURE)] * 2), -1)
    return np.min([np.hypot(*np.moveaxis(grid - point, -1, 0)) for point in points], 0)[:, :, None]


def _gradient(generator: np.random.Generator) -> NDArray[np.float64]:
    across, down = np.meshgrid(*[np.linspace(-1, 1, _TEXTURE)] * 2)
    x, y, curve = generator.uniform(-1, 1, 3)
    return (x * across + y * down + curve * (across**2 + down**2))[:, :, None]
