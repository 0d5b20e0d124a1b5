"""Building a reference library: from a folder of photographs, or from the built-in ones by seeded crops."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explorer import images
from explorer.backbones import Cut, Preprocessing
from explorer.images import ImageError, Picture
from explorer.library import store
from explorer.library.store import LibraryError, Shard
from explorer.library.table import read_labels

BUILT_IN = "built-in"
_CROPS = 20
_SHARD = 64
_THUMBNAIL = 96

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A picture to take into a library: its id, how to read it, and its class where known."""

    identifier: str
    read: Callable[[], Picture]
    label: int | None = None


def built_in() -> list[Source]:
    """Seeded square crops of the sample photographs, 35 to 100 % of the short side, unlabelled."""
    generator = np.random.default_rng(0)
    sources = []
    for identifier in images.SAMPLES:
        for number in range(_CROPS):
            scale, x, y = 0.35 + 0.65 * generator.random(), *generator.random(2)
            sources.append(
                Source(
                    f"{identifier} {number + 1}",
                    partial(_crop, identifier, scale, x, y),
                )
            )
    return sources


def from_folder(folder: Path, labels: Path | None = None) -> list[Source]:
    """The JPEG, PNG and WebP files of a folder, by name.

    Args:
        labels: a CSV file with the columns ``file`` and ``class_index``; without it the prediction stands in.

    Raises:
        LibraryError: no such folder, no pictures in it, or a labels file that cannot be read or names none of them.
    """
    if not folder.is_dir():
        raise LibraryError(f"{folder} is not a folder: give the folder that holds the photographs.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES)
    if not paths:
        raise LibraryError(f"{folder} holds no JPEG, PNG or WebP file: give a folder of photographs.")
    classes = {} if labels is None else dict(read_labels(labels, {path.name for path in paths}))
    return [Source(path.name, partial(images.load, path), classes.get(path.name)) for path in paths]


def build(
    cut: Cut, name: str, sources: Sequence[Source], description: str, progress: Progress | None = None
) -> None:
    """Builds and stores a library; one forward pass per readable picture.

    Args:
        name: what the library is called; an existing one of this name is replaced.
        description: where the pictures come from, shown wherever the library is named.
        progress: called with (pictures done, pictures in all); may raise to cancel.

    Raises:
        LibraryError: none of the sources is readable, or a label is not a class of the backbone.
    """
    if not name.strip() or len(name) > 60 or not name.isprintable():
        raise LibraryError(f"{name[:60]!r} cannot name a library: use 1 to 60 printable characters.")
    skipped: list[str] = []
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with _writable(), store.writing(cut, name, description, created, skipped) as writer:
        waiting: list[Shard] = []
        batch = cut.backbone.batch
        for start in range(0, len(sources), batch):
            read = list(_read(sources[start : start + batch], cut, skipped))
            if read:
                waiting.append(records(cut, *zip(*read, strict=True)))
            done = min(start + batch, len(sources))
            if waiting and (len(waiting) * batch >= _SHARD or done == len(sources)):
                writer.add(Shard.merged(waiting))
                waiting.clear()
            if progress is not None:
                progress(done, len(sources))


def open_or_build(cut: Cut, name: str = BUILT_IN, progress: Progress | None = None) -> store.Library:
    """Opens a library; the built-in one is made when it is missing, stale or damaged.

    Raises:
        LibraryError: another library than the built-in one is missing or damaged.
    """
    if name != BUILT_IN:
        return store.open_library(cut, name)
    with suppress(LibraryError):
        return store.open_library(cut, name)
    with _writable(), store.lock(cut, name):
        with suppress(LibraryError):
            return store.open_library(cut, name)
        description = f"{_CROPS} crops of each of {len(images.SAMPLES)} sample photographs"
        build(cut, name, built_in(), description, progress)
        return store.open_library(cut, name)


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LibraryError(
            f"The library cannot be written to {store.home()} ({error.strerror}): free space there, or set "
            "EXPLORER_HOME to a folder that can be written."
        ) from error


def _read(chunk: Sequence[Source], cut: Cut, skipped: list[str]) -> Iterator[tuple[Source, Picture]]:
    classes = len(cut.backbone.labels)
    for source in chunk:
        if source.label is not None and not 0 <= source.label < classes:
            raise LibraryError(
                f"{source.identifier} has the label {source.label}, but {cut.backbone.name} has the classes "
                f"0 to {classes - 1}: correct the labels file."
            )
        try:
            yield source, source.read()
        except ImageError as error:
            skipped.append(str(error))


@torch.inference_mode()
def records(cut: Cut, sources: tuple[Source, ...], pictures: tuple[Picture, ...]) -> Shard:
    """What the network makes of pictures read from these sources; one forward pass for all."""
    backbone = cut.backbone
    inputs = torch.stack([backbone.preprocessing.tensor(picture) for picture in pictures])
    raw = cut.trunk(inputs.to(backbone.device).contiguous(memory_format=torch.channels_last))
    probabilities = cut.head(raw).softmax(1).cpu()
    predicted = probabilities.argmax(1).tolist()
    labels = [
        guess if source.label is None else source.label
        for source, guess in zip(sources, predicted, strict=True)
    ]
    return Shard(
        tuple(source.identifier for source in sources),
        tuple(picture.digest for picture in pictures),
        cut.layer.to_maps(raw).half().cpu(),
        probabilities,
        torch.tensor(labels),
        torch.stack([_thumbnail(image, backbone.preprocessing) for image in inputs]),
    )


def _thumbnail(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the network saw (3, H, W), small: (side, side, 3) uint8."""
    small = torch.nn.functional.interpolate(image[None], (_THUMBNAIL, _THUMBNAIL), mode="area")[0]
    return preprocessing.colours(small)


def _crop(identifier: str, scale: float, x: float, y: float) -> Picture:
    picture = images.sample(identifier)
    side = round(scale * min(picture.width, picture.height))
    left, top = round(x * (picture.width - side)), round(y * (picture.height - side))
    return Picture(picture.name, picture.digest, picture.pixels[top : top + side, left : left + side])
