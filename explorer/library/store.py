"""Reference libraries on disk: a folder for each, in which an index names every file by its content.

The index is what makes the files a library; it is replaced at once, so a reader finds the former library or the new
one, and whatever no index names is what an unfinished build has left.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from explorer.backbones import Cut
from explorer.home import home, is_name
from explorer.library.shard import (
    File,
    LibraryError,
    Rows,
    Shard,
    Stored,
    checks,
    encoded,
    replace_file,
    write,
)

BUILT_IN, ON_THE_FLY = "built-in", "on-the-fly"
SCHEMA = 3
INDEX = "index.json"
JOURNAL = "build.jsonl"
_USED = "used"
_PATIENCE = 0.5  # seconds
_ATTEMPTS = 3  # to open a library that may be replaced meanwhile
_FILE = re.compile(r"(records|classes|means|shard)-[0-9a-f]{32}\.safetensors")
_TABLES = ("records", "classes", "means")
_BLOCK = 128  # records whose means are computed with at a time
_HELD = 64  # files of a library that are held open, for a process may open few
_LONGEST, _MOST = 200, 2**44


@dataclass(frozen=True)
class LibraryInfo:
    """The index of a library.

    ``space`` is the fingerprint of weights, layer and preprocessing in which its activations live, ``fingerprint``
    that of its content, whatever the files it is spread over. ``plan`` is that of what it was built from and how;
    "" for a library that was put together of others. ``skipped`` lists unreadable files with the reason.
    ``files`` are the three tables and the shards, ``created`` and ``used`` the times of writing and of the last use, in
    seconds since 1970, that the file system tells.
    """

    name: str
    backbone: str
    layer: str
    space: str
    source: str
    records: int = 0
    classes: int = 0
    fingerprint: str = ""
    plan: str = ""
    files: tuple[File, ...] = ()
    skipped: tuple[str, ...] = ()
    schema: int = SCHEMA
    created: float = field(default=0.0, compare=False)
    used: float = field(default=0.0, compare=False)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def intact(self) -> bool:
        """Whether every file holds what was written; reads them all."""
        return all(file.intact(self.folder, whole=True) for file in self.files)

    @property
    def shards(self) -> tuple[File, ...]:
        return self.files[len(_TABLES) :]

    @property
    def last_use(self) -> float:
        """When it was last used, or made, in seconds since 1970."""
        return max(self.created, self.used)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return folder(self.space, self.name)


@dataclass(frozen=True, eq=False)
class Library:
    """An opened library of n records, in the order of their ids. Activations stay on disk and are read by record.

    Args:
        labels: (n,) int64; ``predicted`` (n,) int64 and ``confidence`` (n,) float32 are the network's first choice.
        marks: (n, 32) uint8, see ``marks``; None where records may look like the explained picture.
    """

    info: LibraryInfo
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    marks: Tensor | None
    _classes: Rows
    _means: Callable[[], Tensor]
    _places: Tensor
    _activations: Sequence[Rows]
    _thumbnails: Sequence[Rows]
    _checks: Tensor | None = None
    _class_checks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """What its activations take in memory: nothing where they stay on disk."""
        return sum(rows.nbytes for rows in self._activations if isinstance(rows, Tensor))

    def chances(self, target: int) -> Tensor:
        """(n,) float32, the probability of a class on every record.

        Raises:
            LibraryError: what is on disk is not what was written.
        """
        found = self._classes[target]
        if self._class_checks is not None and not torch.equal(checks([found])[0], self._class_checks[target]):
            raise self._damaged(self.info.files[1].name)
        return found

    def activations(self, indices: Tensor) -> Tensor:
        """(n, K, h, w) float16 of these records, in this order.

        Raises:
            LibraryError: what is on disk is not what was written.
        """
        found = self._rows(self._activations, indices)
        if self._checks is not None:
            wrong = (checks(found) != self._checks[indices]).any(1).nonzero()
            if len(wrong):
                shard = int(self._places[indices[wrong[0, 0]], 0])
                raise self._damaged(self.info.shards[shard].name)
        return torch.stack(found)

    def thumbnail(self, index: int) -> Tensor:
        """(side, side, 3) uint8, what the network saw of a record."""
        return self._rows(self._thumbnails, torch.tensor([index]))[0]

    @cached_property
    def means(self) -> Tensor:
        """(n, K) float16, the mean of each channel over space.

        Raises:
            LibraryError: what is on disk is not what was written.
        """
        return self._means()

    @cached_property
    def lengths(self) -> Tensor:
        """(n,) float64, the Euclidean norm of each of the means, or next to nothing where that is zero."""
        return torch.cat([block.double().norm(dim=1) for block in blocks(self.means)]).clamp(min=1e-12)

    def _rows(self, shards: Sequence[Rows], indices: Tensor) -> list[Tensor]:
        return [shards[shard][row] for shard, row in self._places[indices].tolist()]

    def _damaged(self, file: str) -> LibraryError:
        return LibraryError(
            f"The library {self.info.name!r} is damaged: {file} does not hold what was written. Build it again, which "
            "mends the damaged files alone."
        )


def blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """The rows of a tensor, some at a time: in another precision all at once would be several times the library."""
    return rows.split(_BLOCK)


def in_memory(cut: Cut, name: str, source: str, fingerprint: str, shard: Shard) -> Library:
    """A library that is not stored, whose records may look like the picture that they were made for."""
    info = LibraryInfo(
        name,
        cut.backbone.name,
        cut.layer.name,
        cut.fingerprint,
        source,
        records=len(shard),
        classes=len(shard.labels.unique()),
        fingerprint=fingerprint,
    )
    confidence, predicted = shard.probabilities.max(1)
    places = torch.stack([torch.zeros(len(shard), dtype=torch.int64), torch.arange(len(shard))], 1)
    return Library(
        info,
        shard.ids,
        shard.digests,
        shard.labels,
        predicted,
        confidence,
        None,
        shard.probabilities.T,
        lambda: shard.tensors()["means"],
        places,
        (shard.activations,),
        (shard.thumbnails,),
    )


def folder(space: str, name: str) -> Path:
    """Where a library of this name in a space is, or would be."""
    key = hashlib.sha256(f"{SCHEMA} {space} {name}".encode(errors="surrogateescape")).hexdigest()[:32]
    return home() / "libraries" / key


def folder_of(cut: Cut, name: str) -> Path:
    """Where a library of this name is, or would be."""
    return folder(cut.fingerprint, name)


@contextmanager
def writing(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """One writer at a time for each library; the thread that holds its lock may take it again.

    Args:
        waiting: called now and then while another writes; may raise to wait no longer. Without it nothing waits.

    Raises:
        LibraryError: the folder cannot be written, the disk is full, or another writes.
    """
    lock = _lock(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(Timeout):
                lock.acquire(timeout=0 if waiting is None else _PATIENCE)
                break
            if waiting is None:
                raise LibraryError("This library is being written just now: wait until that is done.")
            waiting()
        try:
            folder.mkdir(exist_ok=True)
            yield
        finally:
            with suppress(OSError):  # of a library that came to nothing
                folder.rmdir()
            lock.release()
    except OSError as error:
        raise LibraryError(
            f"The library cannot be written to {home()} ({error.strerror}): free space there, or set EXPLORER_HOME to "
            "a folder that can be written."
        ) from error


def is_written(folder: Path) -> bool:
    """Whether somebody writes a library just now."""
    lock = _lock(folder)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"), is_singleton=True)


def assembled(info: LibraryInfo) -> LibraryInfo:
    """Writes the tables over the shards of a library; to be called while it is being written.

    Args:
        info: its ``files`` are the shards alone; records that are there twice are left out.
    """
    folder = info.folder
    tables, records, classes, fingerprint = _tables(folder, info.files, info.space)
    return replace(
        info, files=(*tables, *info.files), records=records, classes=classes, fingerprint=fingerprint
    )


def publish(info: LibraryInfo) -> LibraryInfo:
    """Makes an assembled library that of its folder; to be called while it is being written."""
    entries = {key: value for key, value in asdict(info).items() if key not in ("created", "used")}
    replace_file(info.folder / INDEX, json.dumps(entries, indent=1).encode())
    sweep(info.folder, {file.name for file in info.files})
    found = read_index(info.folder)
    assert found is not None
    return found


def sweep(folder: Path, keep: set[str]) -> None:
    """Removes the files of a library that are not among these, and what interrupted writing has left of any."""
    for path in folder.glob("*.safetensors*"):
        if path.name not in keep:
            with suppress(OSError):  # another process may have it open where that forbids removal
                path.unlink()


def _tables(folder: Path, shards: Sequence[File], space: str) -> tuple[list[File], int, int, str]:
    """The tables over all records of shards, how many records and classes there are, and their fingerprint."""
    stored = [Stored(folder / shard.name, held=False) for shard in shards]
    rows = [
        (identifier, digest, number, row)
        for number, shard in enumerate(stored)
        for row, (identifier, digest) in enumerate(
            zip(shard.names("ids"), shard.names("digests"), strict=True)
        )
    ]

    def column(name: str) -> list[Tensor]:
        return [shard.tensor(name) for shard in stored]

    marked, sums, given = torch.cat(column("marks")), torch.cat(column("checks")), torch.cat(column("labels"))

    def rank(index: int) -> tuple[str, str, int, bytes]:
        return (*rows[index][:2], int(given[index]), sums[index].numpy().tobytes())

    first: dict[tuple[str, bytes], int] = {}
    for index in sorted(range(len(rows)), key=rank):
        first.setdefault((rows[index][1], marked[index].numpy().tobytes()), index)
    order = torch.tensor(list(first.values()))
    kept = [rows[index] for index in first.values()]
    ids = _distinct(kept)
    labels, sums = given[order], sums[order]
    probabilities = torch.cat(column("probabilities"))[order]
    confidence, predicted = probabilities.max(1)
    probabilities = probabilities.T.contiguous()
    columns = {
        "labels": labels,
        "predicted": predicted,
        "confidence": confidence,
        "marks": marked[order],
        "checks": sums,
        "places": torch.tensor([[number, row] for _, _, number, row in kept]),
        "class_checks": checks(probabilities),
    }
    names = {"ids": ids, "digests": [digest for _, digest, _, _ in kept]}
    content = hashlib.sha256(f"{SCHEMA} {space}".encode())
    for identifier, digest, label, check in zip(ids, names["digests"], labels.tolist(), sums, strict=True):
        content.update(repr((identifier, digest, label, check.numpy().tobytes())).encode())
    content.update(columns["class_checks"].numpy().tobytes())
    tables = [
        write(folder, "records", encoded(columns, names)),
        write(folder, "classes", encoded({"probabilities": probabilities}, {})),
        write(folder, "means", encoded({"means": torch.cat(column("means"))[order]}, {})),
    ]
    return tables, len(kept), len(labels.unique()), content.hexdigest()


def _distinct(rows: Sequence[tuple[str, str, int, int]]) -> list[str]:
    """The ids, with the beginning of the digest where another picture has the same."""
    times = Counter(identifier for identifier, *_ in rows)
    return [
        identifier if times[identifier] == 1 else f"{identifier} ({digest[:8]})"
        for identifier, digest, *_ in rows
    ]


def open_library(cut: Cut, name: str) -> Library:
    """Opens a library. Its tables are read, its activations are not; what is read of them later is checked then.

    Raises:
        LibraryError: there is none of this name for this backbone and layer, or it is damaged.
    """
    problem: LibraryError | None = None
    for _ in range(_ATTEMPTS):
        info = find(cut, name)
        if info is None:
            break
        try:
            library = opened(info, cut)
        except LibraryError as error:
            problem = error
        else:
            touch(info)
            return library
    where = f"{cut.backbone.name} at {cut.layer.name}"
    folder = folder_of(cut, name)
    if problem is not None or (folder / INDEX).exists():
        reason = str(problem) if problem else f"{INDEX} cannot be read."
        raise LibraryError(f"The library {name!r} for {where} is damaged: build it again. {reason}")
    if (folder / JOURNAL).exists():
        raise LibraryError(
            f"The library {name!r} for {where} is not finished: go on with the `library build` that began it."
        )
    others = sorted({info.name for info in installed() if info.space == cut.fingerprint})
    known = f" There are: {', '.join(others)}." if others else ""
    raise LibraryError(
        f"There is no library {name[:80]!r} for {where}.{known} Build it with "
        f"`python -m explorer library build --backbone {cut.backbone.name} --images DIR --name NAME`."
    )


def find(cut: Cut, name: str) -> LibraryInfo | None:
    """The index of a library, if it is there and sound."""
    return read_index(folder_of(cut, name))


def touch(info: LibraryInfo) -> None:
    """Notes that a library is in use."""
    with suppress(OSError):  # it may lie where nothing can be written
        (info.folder / _USED).touch()


def opened(info: LibraryInfo, cut: Cut | None = None) -> Library:
    """The library that an index is of.

    Args:
        cut: the layer to which it is said to belong.

    Raises:
        LibraryError: a file of it is missing or damaged, or its activations are not of that layer.
    """
    folder = info.folder
    for file in info.files:
        if not file.intact(folder, whole=file.kind == "records"):
            raise LibraryError(f"{file.name} is missing or not what was written.")
    held = len(info.files) <= _HELD
    table, classes, means, *shards = (Stored(folder / file.name, held=held) for file in info.files)
    if cut is not None:
        layer, labels = cut.layer, len(cut.backbone.labels)
        shape = (layer.channels, layer.height, layer.width)
        if classes.shape("probabilities")[0] != labels or any(
            s.shape("activations")[1:] != shape for s in shards
        ):
            raise LibraryError("Its activations are not of this layer.")

    def read_means() -> Tensor:
        if not info.files[2].intact(folder, whole=True):
            raise LibraryError(f"{info.files[2].name} is not what was written: build the library again.")
        return means.tensor("means")

    return Library(
        info,
        table.names("ids"),
        table.names("digests"),
        table.tensor("labels"),
        table.tensor("predicted"),
        table.tensor("confidence"),
        table.tensor("marks"),
        classes.rows("probabilities"),
        read_means,
        table.tensor("places"),
        [shard.rows("activations") for shard in shards],
        [shard.rows("thumbnails") for shard in shards],
        table.tensor("checks"),
        table.tensor("class_checks"),
    )


def installed() -> list[LibraryInfo]:
    """The index of every library in the home, by backbone, layer and name."""
    found = (read_index(path.parent) for path in (home() / "libraries").glob(f"*/{INDEX}"))
    return sorted((info for info in found if info), key=lambda info: (info.backbone, info.layer, info.name))


def read_index(folder: Path) -> LibraryInfo | None:
    """The index in a folder; None if it is missing, of another schema, or not what this module writes."""
    path = folder / INDEX
    try:
        info = parse_index(path.read_bytes())
        info = replace(info, created=path.stat().st_mtime)
        with suppress(OSError):
            info = replace(info, used=(folder / _USED).stat().st_mtime)
        return info
    except (OSError, ValueError, TypeError, KeyError):
        return None


def parse_index(text: bytes) -> LibraryInfo:
    """The index in a file's bytes.

    Raises:
        ValueError, TypeError, KeyError: it is not what this module writes.
    """
    entries: Mapping[str, Any] = json.loads(text)
    files = tuple(File(**file) for file in entries["files"])
    info = LibraryInfo(**{**entries, "files": files, "skipped": tuple(map(str, entries["skipped"]))})
    kinds = [file.kind for file in files]
    sound = (
        info.schema == SCHEMA
        and all(type(getattr(info, name)) is str and is_text(getattr(info, name)) for name in _TEXTS)
        and all(len(reason) <= 1000 and reason.isprintable() for reason in info.skipped)
        and all(type(value) is int and value > 0 for value in (info.records, info.classes))
        and all(
            _FILE.fullmatch(file.name) and file.name.endswith(f"-{file.sha256[:32]}.safetensors")
            for file in files
        )
        and all(type(file.bytes) is int and 0 < file.bytes < _MOST for file in files)
        and kinds[: len(_TABLES)] == list(_TABLES)
        and set(kinds[len(_TABLES) :]) == {"shard"}
        and is_name(info.name)
    )
    if not sound:
        raise ValueError("not an index")
    return info


_TEXTS = ("name", "backbone", "layer", "space", "source", "fingerprint", "plan")


def refuse_own(name: str) -> None:
    """Refuses a name that the explorer gives to libraries of its own making."""
    if name in (BUILT_IN, ON_THE_FLY):
        raise LibraryError(f"{name!r} is the name of a library that the explorer makes: choose another name.")


def is_text(text: str) -> bool:
    """Whether an index can say so: printable, and short."""
    return text.isprintable() and len(text) <= _LONGEST
