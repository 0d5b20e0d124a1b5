"""Where the page keeps evaluations, and the pictures uploaded for them: folders below EXPLORER_HOME.

``evaluations/FINGERPRINT`` holds a journal, and a folder of results for each baseline.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from explorer.dataset import SYNSET, TABLES, Entry, open_dataset, splits, unpack
from explorer.errors import ExplorerError
from explorer.home import home

_ABOUT = "about.json"


@dataclass(frozen=True)
class Source:
    """Pictures to be evaluated.

    Args:
        name: for a reader.
        identity: decides the pictures, with their content.
        labels, boxes: whether a file tells them.
        splits: the parts of the data set, of which these pictures are one; () where it has none.
    """

    name: str
    identity: str
    entries: tuple[Entry, ...]
    labels: bool = False
    boxes: bool = False
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """An evaluation on disk: what it is of (``describe``), and the folder of its results."""

    name: str
    labels: bool
    boxes: bool
    baseline: str
    evaluation: dict[str, Any]
    folder: Path
    made: datetime

    @property
    def identifier(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"


def journal_folder(source: Source, description: dict[str, Any]) -> Path:
    """Where the journal of an evaluation is kept, below which are its results."""
    content = json.dumps([source.identity, description], sort_keys=True)
    return _evaluations() / hashlib.sha256(content.encode()).hexdigest()[:32]


def keep(folder: Path, source: Source, baseline: str, description: dict[str, Any]) -> Kept:
    """Lists the results in a folder among those that are kept."""
    about = {
        "name": source.name,
        "labels": source.labels,
        "boxes": source.boxes,
        "baseline": baseline,
        "evaluation": description,
    }
    _write(folder / _ABOUT, json.dumps(about).encode())
    return _kept(folder / _ABOUT)


def kept() -> list[Kept]:
    """All evaluations with results, the newest first."""
    found = []
    for path in _evaluations().glob(f"*/*/{_ABOUT}"):
        with suppress(OSError, TypeError, ValueError):  # of another version, or just being replaced
            found.append(_kept(path))
    return sorted(found, key=lambda one: one.made, reverse=True)


def _kept(path: Path) -> Kept:
    made = datetime.fromtimestamp(path.stat().st_mtime)
    return Kept(**json.loads(path.read_text("utf-8")), folder=path.parent, made=made)


def keep_picture(data: bytes) -> Path:
    """Stores an uploaded picture under its digest."""
    path = picture_path(data)
    if not path.exists():
        _write(path, data)
    return path


def picture_path(data: bytes) -> Path:
    """Where ``keep_picture`` stores it."""
    return _evaluations() / "pictures" / hashlib.sha256(data).hexdigest()


def from_archive(data: bytes, name: str, classes: Sequence[str] | None, split: str) -> Source:
    """The pictures of a ZIP file, which is unpacked once; see ``from_folder``."""
    digest = hashlib.sha256(data).hexdigest()
    folder = _evaluations() / "uploads" / digest
    if not folder.exists():
        unpack(data, folder)
    return _from_folder(folder, name, digest, classes, split)


def from_folder(folder: Path, classes: Sequence[str] | None, split: str) -> Source:
    """The data set in a folder.

    Args:
        classes: the backbone's labels; None leaves out what is told of the pictures.
        split: the part that is taken; where there is none of this name, the first one.
    """
    return _from_folder(folder, folder.name, folder.name, classes, split)


def _from_folder(folder: Path, name: str, identity: str, classes: Sequence[str] | None, split: str) -> Source:
    root = folder
    children = list(folder.iterdir())
    if len(children) == 1 and children[0].is_dir():
        [only] = children
        if only.name not in (classes or ()) and not SYNSET.fullmatch(only.name):
            root = only  # a folder around everything
    parts = splits(root)
    part = split if split in parts else next(iter(parts), "val")
    labels, boxes = (path if (path := root / table).is_file() else None for table in TABLES)
    try:
        entries = open_dataset(root, classes=classes, labels=labels, boxes=boxes, split=part)
    except ExplorerError as error:  # a visitor learns nothing of the server's folders
        raise type(error)(str(error).replace(f"{root}{os.sep}", "").replace(str(root), name)) from error
    identity = f"{identity} {_stamp(entries)}"
    name += f", {part}" if parts else ""
    return Source(name, identity, tuple(entries), labels is not None, boxes is not None, parts)


def _stamp(entries: Sequence[Entry]) -> str:
    """Changes (hex) when a file of a picture or mask does: its size or the time of its last change."""
    content = hashlib.sha256()
    for entry in entries:
        for path in filter(None, (entry.path, entry.mask)):
            with suppress(OSError):
                status = path.stat()
                content.update(repr((entry.identifier, status.st_size, status.st_mtime_ns)).encode())
    return content.hexdigest()


def _evaluations() -> Path:
    return home() / "evaluations"


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
