"""Records of a reference library, some to a file: what the network made of pictures."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from explorer.backbones import Preprocessing
from explorer.errors import ExplorerError

_THUMBNAIL = 96
_MARK = 16  # side of the grid whose differences mark a picture


class LibraryError(ExplorerError):
    """A library that is missing, damaged or of another backbone; the sentence gives the remedy."""


class Rows(Protocol):
    """A tensor, or one on disk, of which single rows are read."""

    def __getitem__(self, index: int, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Shard:
    """Some records of a library.

    Args:
        ids: a name for each record, unique in the library.
        digests: sha256 (hex) of the source picture's file.
        activations: (n, K, h, w) float16, at the library's layer.
        probabilities: (n, C) float32.
        labels: (n,) int64, the class of the picture; the predicted one where none was given.
        thumbnails: (n, side, side, 3) uint8, what the network saw.
    """

    ids: tuple[str, ...]
    digests: tuple[str, ...]
    activations: Tensor
    probabilities: Tensor
    labels: Tensor
    thumbnails: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def merged(cls, shards: Sequence["Shard"]) -> "Shard":
        return cls(
            tuple(identifier for shard in shards for identifier in shard.ids),
            tuple(digest for shard in shards for digest in shard.digests),
            *(
                torch.cat([getattr(shard, name) for shard in shards])
                for name in ("activations", "probabilities", "labels", "thumbnails")
            ),
        )

    @classmethod
    def read(cls, stored: "Stored") -> "Shard":
        """The records in a file that is not trusted.

        Raises:
            ValueError, KeyError: they are not what is written here.
        """
        names = ("activations", "probabilities", "labels", "thumbnails")
        activations, probabilities, labels, thumbnails = (stored.tensor(name) for name in names)
        shard = cls(
            stored.names("ids"), stored.names("digests"), activations, probabilities, labels, thumbnails
        )
        count = len(shard)
        kinds = (activations.dtype, probabilities.dtype, labels.dtype, thumbnails.dtype)
        sound = (
            kinds == (torch.float16, torch.float32, torch.int64, torch.uint8)
            and 0 < count == len(shard.digests) == len(activations) == len(probabilities) == len(thumbnails)
            and (activations.ndim, probabilities.ndim, thumbnails.ndim) == (4, 2, 4)
            and labels.shape == (count,)
            and bool(torch.isfinite(probabilities).all() and torch.isfinite(activations).all())
            and 0 <= int(labels.min()) <= int(labels.max()) < probabilities.shape[1]
            and thumbnails.shape[1] == thumbnails.shape[2]
            and thumbnails.shape[3] == 3
        )
        if not sound:
            raise ValueError("not the records of a library")
        "".join((*shard.ids, *shard.digests)).encode()
        return shard

    def where(self, kept: Tensor) -> "Shard":
        """The records (n,) bool that are kept."""
        rows = kept.nonzero()[:, 0].tolist()
        return Shard(
            tuple(self.ids[row] for row in rows),
            tuple(self.digests[row] for row in rows),
            *(
                tensor[kept]
                for tensor in (self.activations, self.probabilities, self.labels, self.thumbnails)
            ),
        )

    def tensors(self) -> dict[str, Tensor]:
        """What is written of it: beside what it holds, ``means`` (n, K) over space, ``marks`` and ``checks``."""
        return {
            "activations": self.activations.contiguous(),
            "probabilities": self.probabilities.contiguous(),
            "labels": self.labels,
            "thumbnails": self.thumbnails.contiguous(),
            "means": self.activations.float().mean((2, 3)).half(),
            "marks": marks(self.thumbnails),
            "checks": checks(self.activations),
        }

    def encoded(self) -> bytes:
        """The content of a file of these records."""
        return encoded(self.tensors(), {"ids": self.ids, "digests": self.digests})


def thumbnails(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the network saw (n, 3, H, W), small: (n, side, side, 3) uint8."""
    return preprocessing.colours(F.interpolate(images.cpu(), (_THUMBNAIL, _THUMBNAIL), mode="area"))


def marks(thumbnails: Tensor) -> Tensor:
    """The difference hash of pictures (n, side, side, 3): 256 bits each as (n, 32) uint8.

    A bit says whether a cell of a 16 x 16 grid is lighter than its neighbour on the right, so a picture stored
    anew, in another size or format, keeps nearly all of its bits.
    """
    grey = thumbnails.float().mean(3)[:, None]
    cells = F.interpolate(grey, (_MARK, _MARK + 1), mode="area")[:, 0]
    bits = (cells[:, :, :-1] > cells[:, :, 1:]).flatten(1).numpy()
    return torch.from_numpy(np.packbits(bits, axis=1))


def checks(rows: Iterable[Tensor]) -> Tensor:
    """A checksum of each row's bytes (n, 16) uint8: BLAKE2b."""
    sums = [hashlib.blake2b(row.contiguous().numpy().data, digest_size=16).digest() for row in rows]
    return torch.from_numpy(np.frombuffer(b"".join(sums), np.uint8).reshape(-1, 16).copy())


@dataclass(frozen=True)
class File:
    """A file of a library, named by its kind and content."""

    name: str
    sha256: str
    bytes: int

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    def intact(self, folder: Path, *, whole: bool) -> bool:
        """Whether the file is there and of the right size; ``whole``: with the right content, all of which is read."""
        path = folder / self.name
        try:
            return path.stat().st_size == self.bytes and (not whole or _sha256(path) == self.sha256)
        except OSError:
            return False


def encoded(tensors: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]) -> bytes:
    """The content of a file that holds tensors and names."""
    # One entry: safetensors writes several in any order, and equal content is to make equal files.
    return save(dict(tensors), {"names": json.dumps(dict(names))})


def write(folder: Path, kind: str, content: bytes) -> File:
    """Writes a file, whole or not at all."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{kind}-{digest[:32]}.safetensors"
    replace_file(path, content)
    return File(path.name, digest, len(content))


def replace_file(path: Path, data: bytes) -> None:
    """Puts content in a file's place at once."""
    scratch = path.with_name(f".{path.name}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


class Stored:
    """A file of a library. It is read by row and not mapped: of a mapped file far more than the rows in use stays in
    memory.

    Args:
        held: whether it is kept open, so that it stays readable when it is deleted meanwhile.

    Raises:
        LibraryError: it is missing or no safetensors file.
    """

    def __init__(self, path: Path, *, held: bool = True) -> None:
        self._path = path
        try:
            with safe_open(path, framework="pt"):  # which checks that the header fits the file
                file = path.open("rb")
            length = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(length))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise self._missing() from error
        self._start, self._lock = 8 + length, threading.Lock()
        self._file = file if held else None
        if not held:
            file.close()

    def names(self, key: str) -> tuple[str, ...]:
        return tuple(map(str, json.loads(self._header["__metadata__"]["names"])[key]))

    def tensor(self, key: str) -> Tensor:
        entry = self._header[key]
        first, last = entry["data_offsets"]
        return self._read(first, last - first, entry["dtype"]).reshape(entry["shape"])

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._header[key]["shape"])

    def rows(self, key: str) -> Rows:
        return _StoredRows(self, key)

    def row(self, key: str, index: int) -> Tensor:
        entry = self._header[key]
        count, *shape = entry["shape"]
        first, last = entry["data_offsets"]
        length = (last - first) // count
        return self._read(first + index * length, length, entry["dtype"]).reshape(shape)

    def _read(self, first: int, length: int, kind: str) -> Tensor:
        try:
            with self._lock, nullcontext(self._file) if self._file else self._path.open("rb") as file:
                file.seek(self._start + first)
                data = bytearray(length)
                if file.readinto(data) < length:
                    raise EOFError
        except (OSError, EOFError) as error:
            raise self._missing() from error
        return torch.frombuffer(data, dtype=_TYPES[kind])

    def _missing(self) -> LibraryError:
        return LibraryError(f"{self._path.name} is missing or damaged: build the library again.")


@dataclass(frozen=True)
class _StoredRows:
    file: Stored
    key: str

    def __getitem__(self, index: int, /) -> Tensor:
        return self.file.row(self.key, index)


_TYPES = {"F16": torch.float16, "F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
