"""Reference libraries on disk: safetensors shards with an index, written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from explorer.backbones import Cut
from explorer.errors import ExplorerError

SCHEMA = 2
_INDEX = "index.json"
_ATTEMPTS = 3  # to open a library that may be replaced meanwhile


class LibraryError(ExplorerError):
    """A library that is missing, damaged or of another backbone; the sentence gives the remedy."""


def home() -> Path:
    """Where libraries live: EXPLORER_HOME, else the user's cache directory."""
    override = os.environ.get("EXPLORER_HOME")
    return Path(override) if override else user_cache_path("cam-explorer")


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

    @classmethod
    def merged(cls, shards: Iterable["Shard"]) -> "Shard":
        parts = list(shards)
        return cls(
            tuple(identifier for part in parts for identifier in part.ids),
            tuple(digest for part in parts for digest in part.digests),
            *(
                torch.cat([getattr(part, name) for part in parts])
                for name in ("activations", "probabilities", "labels", "thumbnails")
            ),
        )


@dataclass(frozen=True)
class LibraryInfo:
    """The index of a library.

    ``space`` is the fingerprint of weights, layer and preprocessing in which its activations live,
    ``fingerprint`` that of its content. ``skipped`` lists unreadable files with the reason.
    """

    name: str
    backbone: str
    layer: str
    space: str
    source: str
    created: str
    records: int
    classes: int
    bytes: int
    fingerprint: str
    shards: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...] = ()
    schema: int = SCHEMA


_TYPES = {field: kind for field, kind in LibraryInfo.__annotations__.items() if kind in (str, int)}


@dataclass(frozen=True, eq=False)
class Library:
    """An opened library. Activations stay on disk, memory-mapped, and are read by record."""

    info: LibraryInfo
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    probabilities: Tensor
    labels: Tensor
    thumbnails: Tensor
    _handles: tuple[Any, ...]
    _starts: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def activations(self, indices: Tensor) -> Tensor:
        """(n, K, h, w) float16 of these records, in this order."""
        shards = torch.searchsorted(self._starts, indices, right=True) - 1
        rows = indices - self._starts[shards]
        slices = [handle.get_slice("activations") for handle in self._handles]
        return torch.stack(
            [slices[shard][row] for shard, row in zip(shards.tolist(), rows.tolist(), strict=True)]
        )


class _Memory:
    """Stands for an opened shard."""

    def __init__(self, activations: Tensor) -> None:
        self._activations = activations

    def get_slice(self, _: str) -> Tensor:
        return self._activations


def in_memory(cut: Cut, name: str, source: str, fingerprint: str, shard: Shard) -> Library:
    """A library that is not stored."""
    info = LibraryInfo(
        name,
        cut.backbone.name,
        cut.layer.name,
        cut.fingerprint,
        source,
        created="",
        records=len(shard.ids),
        classes=len(shard.labels.unique()),
        bytes=shard.activations.nbytes,
        fingerprint=fingerprint,
        shards=(),
    )
    return Library(
        info,
        shard.ids,
        shard.digests,
        shard.probabilities,
        shard.labels,
        shard.thumbnails,
        (_Memory(shard.activations),),
        torch.tensor([0]),
    )


def lock(cut: Cut, name: str) -> FileLock:
    """Held while a library is built; the thread that holds it may take it again."""
    target = _folder(cut.fingerprint, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{target}.lock", is_singleton=True)


@contextmanager
def writing(cut: Cut, name: str, source: str, created: str, skipped: list[str]) -> Iterator["ShardWriter"]:
    """Writes a library into a folder of its own, which takes its place when all is written.

    One builder at a time for each library; an interrupted build leaves the former library as it was.
    """
    target = _folder(cut.fingerprint, name)
    with lock(cut, name):
        for abandoned in target.parent.glob(f".{target.name}-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        former = scratch / "former"
        try:
            writer = ShardWriter(scratch)
            yield writer
            info = writer.index(cut, name, source, created, skipped)
            (scratch / _INDEX).write_text(json.dumps(asdict(info), indent=1))
            with suppress(FileNotFoundError):
                target.rename(former := target.with_name(f".{target.name}-former"))
            scratch.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.rmtree(former, ignore_errors=True)


class ShardWriter:
    """Collects the shards of one library in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: list[tuple[str, str]] = []
        self._classes: set[int] = set()
        self._records = 0
        self._bytes = 0

    def add(self, shard: Shard) -> None:
        path = self._folder / f"shard-{len(self._shards):05d}.safetensors"
        tensors = {
            "activations": shard.activations.contiguous(),
            "probabilities": shard.probabilities.contiguous(),
            "labels": shard.labels.contiguous(),
            "thumbnails": shard.thumbnails.contiguous(),
        }
        # One entry: safetensors writes several in any order, and equal shards are to be equal files.
        save_file(tensors, path, {"records": json.dumps({"ids": shard.ids, "digests": shard.digests})})
        self._shards.append((path.name, _sha256(path)))
        self._classes.update(shard.labels.tolist())
        self._records += len(shard.ids)
        self._bytes += path.stat().st_size

    def index(self, cut: Cut, name: str, source: str, created: str, skipped: list[str]) -> LibraryInfo:
        if not self._records:
            reasons = f" The first problem: {skipped[0]}" if skipped else ""
            raise LibraryError(
                f"The library {name!r} would be empty: {source} holds no readable picture.{reasons}"
            )
        content = " ".join([str(SCHEMA), cut.fingerprint, *(digest for _, digest in self._shards)])
        return LibraryInfo(
            name=name,
            backbone=cut.backbone.name,
            layer=cut.layer.name,
            space=cut.fingerprint,
            source=source,
            created=created,
            records=self._records,
            classes=len(self._classes),
            bytes=self._bytes,
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            shards=tuple(self._shards),
            skipped=tuple(skipped),
        )


def open_library(cut: Cut, name: str) -> Library:
    """Opens a library after checking every shard against the index.

    Raises:
        LibraryError: there is none of this name for this backbone and layer, or it is damaged.
    """
    for _ in range(_ATTEMPTS):
        info = find(cut, name)
        library = _open(info, _folder(cut.fingerprint, name)) if info is not None else None
        if library is not None:
            return library
    where = f"{cut.backbone.name} at {cut.layer.name}"
    if (_folder(cut.fingerprint, name) / _INDEX).exists():
        raise LibraryError(f"The library {name!r} for {where} is damaged: build it again.")
    others = sorted({info.name for info in installed() if info.space == cut.fingerprint})
    known = f" There are: {', '.join(others)}." if others else ""
    raise LibraryError(
        f"There is no library {name[:80]!r} for {where}.{known} Build it with "
        f"`python -m explorer library build --backbone {cut.backbone.name} --images DIR --name NAME`."
    )


def find(cut: Cut, name: str) -> LibraryInfo | None:
    """The index of a library, if it is there and sound."""
    return _read_index(_folder(cut.fingerprint, name) / _INDEX)


def _open(info: LibraryInfo, folder: Path) -> Library | None:
    """The library in a folder; None if it is damaged or has just been replaced."""
    shards, handles = [], []
    try:
        for file, digest in info.shards:
            if _sha256(folder / file) != digest:
                return None
            handle = safe_open(folder / file, framework="pt")
            handles.append(handle)
            records = json.loads(handle.metadata()["records"])
            tensors = (handle.get_tensor(key) for key in ("probabilities", "labels", "thumbnails"))
            shards.append(Shard(tuple(records["ids"]), tuple(records["digests"]), torch.empty(0), *tensors))
    except (OSError, SafetensorError):
        return None
    whole = Shard.merged(shards)
    sizes = torch.tensor([0, *(len(shard.ids) for shard in shards)])
    return Library(
        info,
        whole.ids,
        whole.digests,
        whole.probabilities,
        whole.labels,
        whole.thumbnails,
        tuple(handles),
        sizes.cumsum(0)[:-1],
    )


def installed() -> list[LibraryInfo]:
    """The index of every library in the home, by backbone, layer and name."""
    found = (_read_index(path) for path in (home() / "libraries").glob(f"*/{_INDEX}"))
    return sorted((info for info in found if info), key=lambda info: (info.backbone, info.layer, info.name))


def _folder(space: str, name: str) -> Path:
    key = hashlib.sha256(f"{SCHEMA} {space} {name}".encode(errors="surrogateescape")).hexdigest()[:32]
    return home() / "libraries" / key


def _read_index(path: Path) -> LibraryInfo | None:
    """The index in a file; None if it is missing, of another schema, or not what this module writes."""
    try:
        entries = json.loads(path.read_text())
        shards = tuple((str(file), str(digest)) for file, digest in entries["shards"])
        skipped = tuple(str(reason) for reason in entries["skipped"])
        info = LibraryInfo(**{**entries, "shards": shards, "skipped": skipped})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    typed = all(isinstance(getattr(info, field), kind) for field, kind in _TYPES.items())
    sound = typed and info.schema == SCHEMA and shards and all(Path(file).name == file for file, _ in shards)
    return info if sound else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
