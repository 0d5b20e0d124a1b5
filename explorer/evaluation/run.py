"""The evaluation of a data set: a pure function of each picture, and a journal from which a killed run goes on."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import SEEK_END, RawIOBase
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from explorer.backbones import Layer
from explorer.calibration import NoScoreError
from explorer.compute import Engine, Request
from explorer.compute import Progress as Work
from explorer.dataset import DatasetError, Entry, ahead
from explorer.errors import ExplorerError
from explorer.evaluation.regions import boxes_seen, region
from explorer.images import ImageError, Picture
from explorer.library import BUILT_IN, UNLIKELY, Rule
from explorer.methods import Method
from explorer.metrics import Metric, Objects, passes_of

Classes = Literal["predicted", "given"]
Progress = Callable[[int, int], None]
Record = dict[str, Any]

_JOURNAL = "journal.jsonl"
_PACKAGES = ("cam-explorer", "torch", "torchvision", "timm", "numpy", "pillow")


class EvaluationError(ExplorerError):
    """An evaluation that cannot be made or continued; the sentence gives the remedy."""


@dataclass(frozen=True)
class Configuration:
    """All that decides an evaluation but the pictures.

    Args:
        classes: whether the predicted or the given classes are explained; each given class of a picture apart.
        library, rule, seed, limit: where references come from, for the methods that need them.
    """

    backbone: str
    layer: str | None
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    classes: Classes = "predicted"
    library: str = BUILT_IN
    rule: Rule = "random"
    seed: int = 0
    limit: float = UNLIKELY

    def requests(self, target: int | None) -> list[Request]:
        return [
            Request(
                self.backbone,
                self.layer,
                method,
                target,
                self.library,
                self.rule,
                self.seed,
                self.limit,
            )
            for method in self.methods
        ]


def passes(configuration: Configuration, layer: Layer, pixels: int) -> int:
    """About how many forward passes a picture takes at a layer of a network that sees so many pixels."""
    total = 0
    for method in configuration.methods:
        once = method.passes(layer)
        total += once + passes_of(configuration.metrics, pixels, once)
    return total


def measure(
    engine: Engine,
    entry: Entry,
    picture: Picture,
    configuration: Configuration,
    within: Work | None = None,
) -> list[Record]:
    """What the metrics say of every method's map of a picture, plain and calibrated: one record for each.

    The same picture and configuration give the same records, whatever was evaluated before.
    """
    cut = engine.backbone(configuration.backbone).cut(configuration.layer)
    preprocessing = cut.backbone.preprocessing
    predicted = int(engine.predict(picture, configuration.backbone).probabilities.argmax())
    records: list[Record] = []
    for target in entry.labels if configuration.classes == "given" else [predicted]:
        seen = region(entry, target, preprocessing, picture)
        objects = None if seen is None else Objects(seen, boxes_seen(entry, target, preprocessing, picture))
        several = configuration.classes == "given" and len(entry.labels) > 1
        requests = configuration.requests(target)
        for found in engine.figures(picture, requests, configuration.metrics, objects, within):
            common = {
                "picture": f"{entry.identifier} ({target})" if several else entry.identifier,
                "digest": picture.digest,
                "label": target if several else entry.labels[0] if entry.labels else None,
                "target": target,
                "probability": found.probability,
                "correct": predicted in entry.labels if entry.labels else None,
                "method": str(found.request.method),
            }
            for variant, cut_at, values in (
                ("plain", None, found.plain),
                ("calibrated", found.calibration.cut, found.calibrated),
            ):
                known = {name: None if math.isnan(value) else value for name, value in values.items()}
                blank = found.blank is not None or cut_at == 100
                records.append({**common, "variant": variant, "blank": blank, "cut": cut_at, **known})
    return records


@dataclass(frozen=True)
class Outcome:
    """The records of all pictures in the order of the data set, why pictures were left out, and what it all is of."""

    records: list[Record]
    skipped: list[str]
    description: dict[str, Any]


def evaluate(
    engine: Engine,
    entries: Sequence[Entry],
    configuration: Configuration,
    folder: Path,
    progress: Progress = lambda done, total: None,
    workers: int = 1,
    within: Work | None = None,
) -> Outcome:
    """Evaluates a data set, or what is left of it after an interruption.

    Args:
        folder: where the journal is kept; no picture that stands in it is computed again unless its file changed.
        progress: called with (pictures done, pictures in all) after each; may raise to stop.
        workers: how many processes decode pictures ahead.
        within: told how the work on each picture goes; may raise to stop, which loses that picture's work.

    Raises:
        EvaluationError: the folder holds another evaluation or is in use, no picture has a given class, or none can
            be evaluated.
    """
    if configuration.classes == "given" and not any(entry.labels for entry in entries):
        raise EvaluationError(
            "The given classes are to be explained, but no picture has one: give a file of labels, or explain the "
            "predicted classes."
        )
    description = describe(engine, entries, configuration)
    with _journal(folder, description) as journal, _told_when_a_worker_ends():
        left = [entry for entry in entries if not journal.holds(entry)]
        progress(len(entries) - len(left), len(entries))
        for done, (entry, picture) in enumerate(ahead(left, workers if len(left) > 1 else 0), 1):
            if isinstance(picture, ImageError):
                where = "" if entry.identifier == entry.path.name else f"{entry.identifier}: "
                journal.append(entry, [], f"{where}{picture}")
            elif configuration.classes == "given" and not entry.labels:
                journal.append(entry, [], f"{entry.identifier} has no given class.")
            else:
                try:
                    journal.append(entry, measure(engine, entry, picture, configuration, within), None)
                except (DatasetError, NoScoreError) as error:
                    journal.append(entry, [], f"{entry.identifier}: {error}")
            progress(len(entries) - len(left) + done, len(entries))
        lines = journal.lines()
    inorder = [lines[entry.identifier] for entry in entries]
    skipped = [line["skipped"] for line in inorder if line["skipped"]]
    records = [record for line in inorder for record in line["records"]]
    if not records:
        raise EvaluationError(f"No picture could be evaluated. The first: {skipped[0]}")
    return Outcome(records, skipped, description)


@contextmanager
def _told_when_a_worker_ends() -> Iterator[None]:
    """torch tells of it by a signal, wherever the work is."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise EvaluationError(
            "A process that decodes pictures was ended, perhaps for want of memory. What is measured is kept: the same "
            "command goes on from here, and with --workers 0 it needs no such process."
        ) from error


def describe(engine: Engine, entries: Sequence[Entry], configuration: Configuration) -> dict[str, Any]:
    """What an evaluation is of, ready for JSON: equal descriptions have equal results on one machine that gives the
    network as many threads."""
    cut = engine.backbone(configuration.backbone).cut(configuration.layer)
    library = None
    if any(method.needs_references() for method in configuration.methods):
        info = engine.library(cut, configuration.library).info
        library = {
            "name": info.name,
            "fingerprint": info.fingerprint,
            "records": info.records,
            "source": info.source,
            "rule": configuration.rule,
            "seed": configuration.seed,
            "limit": configuration.limit,
        }
    content = hashlib.sha256()
    for entry in entries:
        content.update(repr((entry.identifier, entry.labels, entry.boxes, entry.mask is not None)).encode())
    return {
        "backbone": configuration.backbone,
        "weights_sha256": cut.backbone.digest,
        "layer": cut.layer.name,
        "layer_shape": [cut.layer.channels, cut.layer.height, cut.layer.width],
        "preprocessing": asdict(cut.backbone.preprocessing),
        "classes": configuration.classes,
        "library": library,
        "methods": {str(method): asdict(method) for method in configuration.methods},
        "metrics": {str(metric): asdict(metric) for metric in configuration.metrics},
        "pictures": len(entries),
        "pictures_sha256": content.hexdigest(),
        "device": str(engine.device),
        "compiled": cut.backbone.compiled,
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class _Journal:
    """The pictures that are measured, a line each, below a line that says what they are measured for.

    A line tells the content of the picture's files, so that one that is another meanwhile is measured again; of several
    lines of a picture the last counts. A line that a kill or a full disk has cut short is none.
    """

    def __init__(self, file: RawIOBase, lines: Sequence[Record]) -> None:
        self._file = file
        self._contents = {line["picture"]: line["content"] for line in lines}

    def holds(self, entry: Entry) -> bool:
        known = self._contents.get(entry.identifier)
        return known is not None and known == _content(entry)

    def append(self, entry: Entry, records: list[Record], skipped: str | None) -> None:
        known = {"picture": entry.identifier, "content": _content(entry)}
        _write(self._file, {**known, "records": records, "skipped": skipped})

    def lines(self) -> dict[str, Record]:
        """By picture."""
        self._file.seek(0)
        return {line["picture"]: line for line in _pictures(_whole(self._file)[1:])}


@contextmanager
def _journal(folder: Path, head: Record) -> Iterator[_Journal]:
    """The journal of a folder, begun or gone on with by this process alone.

    Raises:
        EvaluationError: the folder holds another evaluation or is in use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _JOURNAL
    try:
        with FileLock(folder / ".lock", timeout=0), path.open("a+b", buffering=0) as file:
            file.seek(0)
            lines = _whole(file)
            file.truncate(sum(map(len, lines)))
            head = json.loads(json.dumps(head))
            if lines:
                _check_same(folder, _read(lines[0]), head)
            else:
                _write(file, head)
            yield _Journal(file, _pictures(lines[1:]))
    except Timeout:
        raise EvaluationError(
            f"{folder} is in use by another evaluation: wait for it, or choose another folder."
        ) from None


def _check_same(folder: Path, found: Any, head: Record) -> None:
    if not isinstance(found, dict):
        raise EvaluationError(
            f"{folder / _JOURNAL} is damaged in its first line, which says what was evaluated: choose another folder, "
            "or delete that file."
        )
    if found != head:
        other = ", ".join(name for name in head if found.get(name) != head[name]) or "version"
        raise EvaluationError(
            f"{folder} holds another evaluation (other {other}): choose another folder, or delete that one."
        )


def _whole(file: RawIOBase) -> list[bytes]:
    """The lines from here that end."""
    return [line for line in file.readall().splitlines(keepends=True) if line.endswith(b"\n")]


def _read(line: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _pictures(lines: Iterable[bytes]) -> list[Record]:
    """Those of pictures; others are damaged."""
    keys = {"picture", "content", "records", "skipped"}
    return [found for line in lines if isinstance(found := _read(line), dict) and found.keys() == keys]


def _write(file: RawIOBase, line: Record) -> None:
    """Appends a line whole or not at all."""
    left, end = memoryview(json.dumps(line).encode() + b"\n"), file.seek(0, SEEK_END)
    try:
        while left:
            left = left[file.write(left) or 0 :]
    except OSError:
        file.truncate(end)
        raise


def _content(entry: Entry) -> str:
    """Of the files of a picture and its mask (hex), as far as they can be read."""
    content = hashlib.sha256()
    for path in filter(None, (entry.path, entry.mask)):
        with suppress(OSError), path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()
