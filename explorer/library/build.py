"""Building reference libraries, of several layers in one pass; what was interrupted goes on where it stopped."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from explorer.backbones import Cut
from explorer.home import home, is_name
from explorer.images import ImageError, Picture
from explorer.library import store
from explorer.library.records import records
from explorer.library.select import CONFIDENT, turns
from explorer.library.shard import (
    File,
    LibraryError,
    Shard,
    Stored,
    marks,
    replace_file,
    write,
)
from explorer.library.sources import BUILT_IN_SOURCE, Source, built_in
from explorer.library.store import BUILT_IN, JOURNAL, Library, LibraryInfo, folder_of

SHARD = 64  # sources that a shard is made of
_READERS = 2

Keep = Literal["all", "confident"]
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """How a library is made of its sources.

    Args:
        name: what it is called; a former one of this name is replaced.
        source: where the pictures come from, shown wherever the library is named.
        keep: "confident": only pictures recognised rightly, where that is known, with a probability of at least 0.8.
        per_class: at most so many of each class; 0 for no limit.
        size: at most so many in all, drawn at random; 0 for no limit.
        balanced: one of each class in turn, up to an equal share of ``size``; of pictures whose classes are not known,
            at most that share of each predicted class.

    Raises:
        LibraryError: a name that cannot be one, a negative limit, or ``balanced`` without ``size``.
    """

    name: str
    source: str
    keep: Keep = "all"
    per_class: int = 0
    size: int = 0
    balanced: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", "".join(filter(str.isprintable, self.source))[:200])
        if not is_name(self.name):
            raise LibraryError(f"{self.name[:60]!r} cannot name a library: use 1 to 60 printable characters.")
        if min(self.per_class, self.size) < 0:
            raise LibraryError("The limits of a library cannot be negative: give 0 for no limit.")
        if self.balanced and not self.size:
            raise LibraryError(
                "A balanced library needs a size, of which each class gets its share: give one."
            )

    def order(self, sources: Sequence[Source]) -> list[Source]:
        """The sources as they are visited: as they come, or shuffled (seed 0) where not all are wanted."""
        if not self.size:
            return list(sources)
        shuffled = [sources[index] for index in np.random.default_rng(0).permutation(len(sources))]
        if not self.balanced:
            return shuffled
        places = turns(source.labels or source.identifier for source in shuffled)
        return [shuffled[index] for index in np.argsort(places, kind="stable")]

    def limit(self, sources: Sequence[Source], classes: int) -> float:
        """How many of each class may be taken."""
        limit = self.per_class or math.inf
        if self.balanced:
            known = {label for source in sources for label in source.labels}
            limit = min(limit, math.ceil(self.size / (len(known) or classes)))
        return limit


class _Chosen:
    """What has been taken into a library so far, and so what may still be."""

    def __init__(self, recipe: Recipe, limit: float) -> None:
        self._recipe, self._limit = recipe, limit
        self._known: set[tuple[str, bytes]] = set()
        self._of: Counter[int] = Counter()

    @property
    def complete(self) -> bool:
        return 0 < self._recipe.size <= len(self._known)

    def visits(self, done: int, sources: int) -> int:
        """How many sources are likely to be visited, of which so many are."""
        if self.complete:
            return done
        if not (self._recipe.size and self._known):
            return sources
        return min(sources, math.ceil(done * self._recipe.size / len(self._known)))

    def add(self, digests: Sequence[str], marked: Tensor, labels: Tensor) -> None:
        """Takes records over that are already stored."""
        for digest, mark, label in zip(digests, marked, labels.tolist(), strict=True):
            self._known.add((digest, mark.numpy().tobytes()))
            self._of[label] += 1

    def of(self, shard: Shard, right: Tensor) -> Tensor:
        """Which records of a shard are taken (n,) bool, in turn.

        Args:
            right: (n,) bool, whether the network's first choice is a class of the picture, or none is known.
        """
        confident = right & (shard.probabilities.amax(1) >= CONFIDENT)
        usable = confident if self._recipe.keep == "confident" else torch.ones_like(confident)
        marked = marks(shard.thumbnails)
        taken = torch.zeros_like(usable)
        for row, label in enumerate(shard.labels.tolist()):
            key = (shard.digests[row], marked[row].numpy().tobytes())
            if self.complete or not usable[row] or key in self._known or self._of[label] >= self._limit:
                continue
            self._known.add(key)
            self._of[label] += 1
            taken[row] = True
        return taken


@dataclass(frozen=True)
class Unfinished:
    """A build that has begun, as the first line of its journal says.

    Args:
        space: see ``LibraryInfo``.
        plan: changes with all that decides the records.
        pictures: how many are to be visited.
    """

    name: str
    backbone: str
    layer: str
    space: str
    source: str
    plan: str
    pictures: int


@dataclass(frozen=True)
class _Line:
    """A line of a build's journal: what came of the next ``SHARD`` sources."""

    file: File | None
    skipped: tuple[str, ...] = ()


class _Journal:
    """The journal of a build in a library's folder. What is damaged of an earlier one is None among its lines.

    Args:
        waiting: called for each line of an earlier journal; may raise to stop.
    """

    def __init__(self, head: "Unfinished", waiting: Callable[[], None]) -> None:
        self.folder = store.folder(head.space, head.name)
        self._path, self._head = self.folder / JOURNAL, head
        self.lines: list[_Line | None] = []
        with suppress(OSError, ValueError, TypeError, KeyError):
            first, *rest = self._path.read_bytes().split(b"\n")
            if Unfinished(**json.loads(first)) == head:
                for text in rest[:-1]:
                    waiting()
                    self.lines.append(self._read(text))

    def _read(self, text: bytes) -> _Line | None:
        with suppress(ValueError, TypeError, KeyError):
            entries = json.loads(text)
            file = File(**entries["file"]) if entries["file"] else None
            if file is None or file.intact(self.folder, whole=True):
                return _Line(file, tuple(map(str, entries["skipped"])))
        return None

    def begin(self, count: int) -> None:
        """Goes on after so many lines; those that are damaged stand there as null."""
        self.lines = self.lines[:count]
        text = [asdict(self._head), *(line and asdict(line) for line in self.lines)]
        replace_file(self._path, b"".join(json.dumps(line).encode() + b"\n" for line in text))

    def put(self, index: int, line: _Line) -> None:
        """The next line, or one in the place of a damaged one."""
        if index < len(self.lines):
            self.lines[index] = line
            self.begin(len(self.lines))
            return
        self.lines.append(line)
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(asdict(line)).encode() + b"\n")

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(line.file for line in self.lines if line and line.file)

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(reason for line in self.lines if line for reason in line.skipped)


def build(
    cuts: Sequence[Cut], recipe: Recipe, sources: Sequence[Source], progress: Progress | None = None
) -> list[LibraryInfo]:
    """Builds and stores a library for each of these layers of one backbone; one forward pass per readable picture.

    An interrupted build goes on where it stopped, as long as its recipe, its sources and their files are the same; of
    a finished library the damaged files alone are made again. The same sources then give the same files, byte for byte.
    Pictures that occur twice are taken once; a former library of this name serves until the new one is complete.

    Args:
        cuts: of one backbone.
        progress: called with (pictures done, pictures in all, bytes written), where a size is wanted those that it
            is likely to take; may raise to stop.

    Raises:
        LibraryError: none of the sources is taken, a label is not a class of the backbone, the folder cannot be
            written, or another build of this name has begun.
    """
    _check_labels(cuts[0], sources)
    visited = recipe.order(sources)
    plan = _plan(cuts, recipe, visited)
    heads = [
        Unfinished(
            recipe.name, cut.backbone.name, cut.layer.name, cut.fingerprint, recipe.source, plan, len(visited)
        )
        for cut in cuts
    ]
    report = progress or (lambda done, total, size: None)
    with ExitStack() as held:
        for folder in sorted({folder_of(cut, recipe.name) for cut in cuts}):
            held.enter_context(store.writing(folder, lambda: report(0, len(visited), 0)))
        former = [store.find(cut, recipe.name) for cut in cuts]
        finished = [info for info in former if info and info.plan == plan and info.intact]
        if len(finished) == len(cuts):
            return finished
        for head in heads:
            _refuse_another(head)
        journals = [_Journal(head, lambda: report(0, len(visited), 0)) for head in heads]
        known = min(len(journal.lines) for journal in journals)
        for info, journal in zip(former, journals, strict=True):
            journal.begin(known)
            store.sweep(
                journal.folder, {file.name for file in (*journal.files, *(info.files if info else ()))}
            )
        _visit(cuts, recipe, visited, journals, report)
        if not journals[0].files:
            for journal in journals:
                (journal.folder / JOURNAL).unlink()
            raise _empty(recipe, journals[0])
        return [_publish(cut, recipe, plan, journal) for cut, journal in zip(cuts, journals, strict=True)]


def unfinished() -> list[Unfinished]:
    """The builds that have begun, that no finished library came of, and that do not go on just now; by name."""
    paths = (home() / "libraries").glob(f"*/{JOURNAL}")
    found = [
        begun for path in paths if (begun := unfinished_in(path.parent)) and not store.is_written(path.parent)
    ]
    return sorted(found, key=lambda begun: (begun.name, begun.backbone, begun.layer))


def unfinished_in(folder: Path) -> Unfinished | None:
    """The build that has begun in a folder and that no finished library came of."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        with (folder / JOURNAL).open("rb") as file:
            begun = Unfinished(**json.loads(file.readline()))
        finished = store.read_index(folder)
        return begun if finished is None or finished.plan != begun.plan else None
    return None


def refuse_unfinished(info: LibraryInfo) -> None:
    """Refuses to put a library in the place of a build that has begun."""
    if unfinished_in(info.folder) is not None:
        raise LibraryError(
            f"A build of the library {info.name!r} for {info.backbone} at {info.layer} is not finished: choose another "
            "name, or finish that build."
        )


def _refuse_another(head: Unfinished) -> None:
    """Refuses to put a build in the place of another that has begun, unless it is of the explorer's own making."""
    begun = unfinished_in(store.folder(head.space, head.name))
    if begun is not None and begun.plan != head.plan and head.name != BUILT_IN:
        raise LibraryError(
            f"Another build of the library {head.name!r} for {head.backbone} at {head.layer} is not finished "
            f"({begun.source}, {begun.pictures} pictures): choose its pictures and settings to go on, another name, or "
            "delete it first."
        )


def forget(begun: Unfinished) -> None:
    """Gives up an unfinished build; a finished library of this name stays as it is."""
    folder = store.folder(begun.space, begun.name)
    with store.writing(folder):
        finished = store.read_index(folder)
        (folder / JOURNAL).unlink(missing_ok=True)
        store.sweep(folder, {file.name for file in finished.files} if finished else set())


def _visit(
    cuts: Sequence[Cut],
    recipe: Recipe,
    sources: Sequence[Source],
    journals: Sequence[_Journal],
    progress: Progress,
) -> None:
    """Makes the shards that the journals lack."""
    chosen = _Chosen(recipe, recipe.limit(sources, len(cuts[0].backbone.labels)))
    chunks = [sources[start : start + SHARD] for start in range(0, len(sources), SHARD)]
    lines = list(zip(*(journal.lines for journal in journals), strict=True))
    stored = {index: line[0] for index, line in enumerate(lines) if None not in line}
    left = [source for index, chunk in enumerate(chunks) if index not in stored for source in chunk]
    done = len(sources) - len(left)

    def report() -> None:
        written = sum(file.bytes for journal in journals for file in journal.files)
        progress(done, chosen.visits(done, len(sources)), written)

    report()
    backbone = cuts[0].backbone
    writing: Future[None] | None = None
    with ThreadPoolExecutor(_READERS) as readers, ThreadPoolExecutor(1) as writer:
        pictures = _ahead(readers, left)
        for index, chunk in enumerate(chunks):
            if line := stored.get(index):
                if line.file:
                    shard = Stored(journals[0].folder / line.file.name)
                    chosen.add(shard.names("digests"), shard.tensor("marks"), shard.tensor("labels"))
                continue
            if chosen.complete:
                break
            skipped: list[str] = []
            parts: list[list[Shard]] = []
            for first in range(0, len(chunk), backbone.batch):
                batch = list(islice(pictures, min(backbone.batch, len(chunk) - first)))
                skipped += [str(found) for _, found in batch if isinstance(found, ImageError)]
                usable = [(source, found) for source, found in batch if isinstance(found, Picture)]
                if usable:
                    parts.append(_taken(records(cuts, usable), usable, chosen))
                done += len(batch)
                report()
                if chosen.complete:
                    break
            if writing is not None:
                writing.result()
            shards = [Shard.merged(layer) for layer in zip(*parts, strict=True)]
            # What takes the cores is done here: threads that compute beside the network slow it down.
            contents = [shard.encoded() if len(shard) else None for shard in shards] or [None] * len(cuts)
            writing = writer.submit(_write, journals, index, contents, tuple(skipped))
        if writing is not None:
            writing.result()


def _ahead(
    readers: ThreadPoolExecutor, sources: Sequence[Source]
) -> Iterator[tuple[Source, Picture | ImageError]]:
    """The sources with their pictures, in order, read by threads a little ahead."""

    def read(source: Source) -> Picture | ImageError:
        try:
            return source.read()
        except ImageError as error:
            return error

    window = 4 * _READERS
    waiting = [readers.submit(read, source) for source in sources[:window]]
    try:
        for index, source in enumerate(sources):
            if index + window < len(sources):
                waiting.append(readers.submit(read, sources[index + window]))
            yield source, waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def _write(
    journals: Sequence[_Journal], index: int, contents: Sequence[bytes | None], skipped: tuple[str, ...]
) -> None:
    """Stores what came of ``SHARD`` sources: a shard, if any, at each of the layers."""
    for journal, content in zip(journals, contents, strict=True):
        journal.put(index, _Line(write(journal.folder, "shard", content) if content else None, skipped))


def _taken(shards: list[Shard], read: Sequence[tuple[Source, Picture]], chosen: _Chosen) -> list[Shard]:
    predicted = shards[0].probabilities.argmax(1).tolist()
    right = [
        not source.labels or guess in source.labels
        for (source, _), guess in zip(read, predicted, strict=True)
    ]
    taken = chosen.of(shards[0], torch.tensor(right))
    return [shard.where(taken) for shard in shards]


def _publish(cut: Cut, recipe: Recipe, plan: str, journal: _Journal) -> LibraryInfo:
    info = LibraryInfo(
        recipe.name,
        cut.backbone.name,
        cut.layer.name,
        cut.fingerprint,
        recipe.source,
        plan=plan,
        files=journal.files,
        skipped=journal.skipped,
    )
    return store.publish(store.assembled(info))


def _empty(recipe: Recipe, journal: _Journal) -> LibraryError:
    first = f" The first problem: {journal.skipped[0]}" if journal.skipped else ""
    return LibraryError(
        f"The library {recipe.name!r} would be empty: {recipe.source} holds no picture that can be taken.{first}"
    )


def _check_labels(cut: Cut, sources: Sequence[Source]) -> None:
    classes = len(cut.backbone.labels)
    for source in sources:
        for label in source.labels:
            if not 0 <= label < classes:
                raise LibraryError(
                    f"{source.identifier} has the label {label}, but {cut.backbone.name} has the classes 0 to "
                    f"{classes - 1}: correct the labels."
                )


def _plan(cuts: Sequence[Cut], recipe: Recipe, visited: Sequence[Source]) -> str:
    """Changes (hex) with all that decides the records of a library."""
    device, batch = cuts[0].backbone.device.type, cuts[0].backbone.batch
    content = hashlib.sha256(f"{store.SCHEMA} {SHARD} {torch.__version__} {device} {batch}".encode())
    content.update(repr((asdict(recipe), sorted(cut.fingerprint for cut in cuts))).encode())
    for source in visited:
        content.update(repr((source.identifier, source.labels, source.stamp)).encode())
    return content.hexdigest()


def open_or_build(
    cut: Cut, name: str = BUILT_IN, progress: Callable[[int, int], None] | None = None
) -> Library:
    """Opens a library; the built-in one is made when it is missing, stale or damaged.

    Raises:
        LibraryError: another library than the built-in one is missing or damaged.
    """
    if name != BUILT_IN:
        return store.open_library(cut, name)
    info = store.find(cut, name)
    if info is None or not info.intact:
        report = progress or (lambda done, total: None)
        build([cut], Recipe(name, BUILT_IN_SOURCE), built_in(), lambda done, total, _: report(done, total))
    return store.open_library(cut, name)
