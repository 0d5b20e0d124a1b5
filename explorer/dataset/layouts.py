"""Data sets: pictures on disk with their classes and where the objects are, in the usual layouts."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from scipy.io import loadmat
from timm.data import ImageNetInfo

from explorer import images
from explorer.dataset.table import read_labels, read_table
from explorer.errors import ExplorerError, first_line
from explorer.images import ImageError

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car"),
    *("cat", "chair", "cow", "diningtable", "dog", "horse", "motorbike"),
    *("person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\b")
SYNSET = re.compile(r"n\d{8}")
_PARTS = {"train", "val", "test"}
_IGNORE = "for a library, the classes may be ignored (--no-labels)"

Corners = tuple[float, float, float, float]


class DatasetError(ExplorerError):
    """Pictures, labels or boxes that cannot be used; the sentence names the file and the remedy."""


@dataclass(frozen=True)
class Box:
    """An object's bounding box, its sides as fractions 0 to 1 of the upright picture's width and height.

    ``label`` is its class, None where it was not told: then it counts for every class.
    """

    left: float
    top: float
    right: float
    bottom: float
    label: int | None = None


@dataclass(frozen=True)
class Entry:
    """A picture of a data set.

    Args:
        identifier: unique in the data set: the path below its folder of pictures, with "/".
        path: the file, JPEG, PNG or WebP.
        labels: class indices of the backbone, ascending; () where unknown, several where several are right.
        boxes: the objects; () where unknown.
        mask: Pascal VOC's segmentation of classes: a palette PNG, k + 1 where class k is, 255 to ignore.
    """

    identifier: str
    path: Path
    labels: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None


def open_dataset(
    source: Path,
    *,
    classes: Sequence[str] | None,
    labels: Path | None = None,
    boxes: Path | None = None,
    split: str = "val",
) -> list[Entry]:
    """The entries of a data set, whose layout is recognised. No picture is decoded.

    - A folder of pictures; beside ImageNet's ``ILSVRC2012_val_*.JPEG`` the devkit's ground truth and ``meta.mat``.
    - A folder of class folders. They are named by labels of the backbone, or by WordNet ids where it has the 1000
      classes of ImageNet; else there is one for each class, in alphabetical order.
    - A folder that holds one of these as the folder ``split``.
    - Pascal VOC, with the list ``ImageSets/Main/{split}.txt``. Difficult objects have a box, but are no label.
    - A CSV file with the columns ``file``, relative to it, and perhaps ``class_index``.

    Args:
        source: the folder, or the CSV file.
        classes: the backbone's labels; None finds the pictures alone, without labels, boxes and masks.
        labels: a CSV file with the columns ``file`` and ``class_index``, or the ground truth of ImageNet's devkit
            with ``meta.mat`` beside it; stands instead of labels found otherwise.
        boxes: a CSV file with the columns ``file, x0, y0, x1, y1``, in pixels of the stored file, and perhaps
            ``class_index``, one row for each object; stands instead of boxes found otherwise.
        split: "train", "val", "test" or however the part is called, where there are parts.

    Raises:
        DatasetError: nothing there, classes that do not fit the backbone, a box outside its picture (by more than
            the pixel that annotators round), a name that leaves the folder or occurs twice.
        TableError: a CSV file that cannot be read or names none of the pictures.
    """
    if source.is_file():
        entries = _listed(source)
    elif (source / "JPEGImages").is_dir():
        entries = _voc(source, split, classes)
    elif source.is_dir():
        folder = source / split if (source / split).is_dir() else source
        labels = labels or next(folder.glob(_GROUND_TRUTH), None)
        entries = _in_folder(folder, None if labels else classes)
    else:
        raise DatasetError(
            f"{source} is no folder and no file: give a folder of pictures, or a CSV file of them."
        )
    if not entries:
        raise DatasetError(f"{source} holds no JPEG, PNG or WebP file: give a folder of pictures.")
    _check_names([entry.identifier for entry in entries], source)
    if classes is None:
        return [Entry(entry.identifier, entry.path) for entry in entries]
    if labels is not None:
        entries = _labelled(entries, labels, classes)
    if boxes is not None:
        entries = _boxed(entries, boxes)
    for entry in entries:
        for label in (*entry.labels, *(box.label for box in entry.boxes if box.label is not None)):
            if not 0 <= label < len(classes):
                raise DatasetError(
                    f"{entry.identifier} has the label {label}, but the backbone has the classes 0 to "
                    f"{len(classes) - 1}: correct the labels, or choose the backbone that they are made for; "
                    f"{_IGNORE}."
                )
    return entries


def splits(folder: Path) -> tuple[str, ...]:
    """The parts of a data set in a folder, those for training first; () where it has none."""
    if (folder / "JPEGImages").is_dir():
        found = {path.stem for path in (folder / "ImageSets" / "Main").glob("*.txt") if "_" not in path.stem}
    else:
        names = {path.name for path in folder.iterdir() if path.is_dir()}
        # A single one of them beside other folders is a class.
        found = names & _PARTS if names <= _PARTS or len(names & _PARTS) > 1 else set()
    return tuple(sorted(found, key=lambda name: (not name.startswith("train"), name)))


def _listed(table: Path) -> list[Entry]:
    def label(row: dict[str, str]) -> tuple[int, ...]:
        return (int(row["class_index"]),) if row.get("class_index") else ()

    folder, entries = _undotted(table.parent), []
    for name, labels in read_table(table, "a list of pictures", "file and perhaps class_index", label):
        path = _below(table.parent, name, table)
        entries.append(Entry(path.relative_to(folder).as_posix(), path, labels))
    return entries


def _in_folder(folder: Path, classes: Sequence[str] | None) -> list[Entry]:
    """The pictures of a folder, else of those in it, which then are classes unless ``classes`` is None."""

    def pictures(paths: Iterable[Path]) -> list[Path]:
        return sorted(path for path in paths if path.suffix.lower() in images.SUFFIXES)

    flat = pictures(folder.iterdir())
    everything = pictures(_files(folder))
    below = {path.relative_to(folder).parts[0] for path in everything} - {path.name for path in flat}
    if flat and below and all(name in (classes or ()) or SYNSET.fullmatch(name) for name in below):
        raise DatasetError(
            f"{folder} holds class folders and beside them {flat[0].name}: move the pictures that belong to no class "
            "elsewhere."
        )
    names = {path: path.relative_to(folder) for path in flat or everything}
    if flat or classes is None:
        return [Entry(name.as_posix(), path) for path, name in names.items()]
    indices = _class_indices(sorted({name.parts[0] for name in names.values()}), classes, folder)
    return [Entry(name.as_posix(), path, (indices[name.parts[0]],)) for path, name in names.items()]


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files below a folder, through links too, but for those that lead back to where they lie."""
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path, (*above, real))
        else:
            yield path


def _class_indices(names: Sequence[str], classes: Sequence[str], folder: Path) -> dict[str, int]:
    """The class that each class folder means."""
    times = Counter(classes)
    if all(times[name] == 1 for name in names):
        return {name: classes.index(name) for name in names}
    if len(classes) == 1000 and all(map(SYNSET.fullmatch, names)):
        synsets = ImageNetInfo().label_names()
        strange = sorted(set(names) - set(synsets))
        if strange:
            raise DatasetError(
                f"{folder / strange[0]} is named by a WordNet id that is none of ImageNet's 1000 classes: remove it; "
                f"{_IGNORE}."
            )
        return {name: synsets.index(name) for name in names}
    strange = [name for name in names if name not in times]
    if 0 < len(strange) < len(names):
        raise DatasetError(
            f"{folder} has class folders that are named by labels of the backbone, but {strange[0]!r} is none of them: "
            f"rename it, or give a CSV file of labels; {_IGNORE}."
        )
    if len(names) != len(classes):
        raise DatasetError(
            f"{folder} has {len(names)} class folders, but the backbone has {len(classes)} classes: name the "
            f"folders by its labels (WordNet ids for ImageNet), or give a CSV file of labels; {_IGNORE}."
        )
    return {name: index for index, name in enumerate(names)}


def _voc(folder: Path, split: str, classes: Sequence[str] | None) -> list[Entry]:
    if classes is not None and len(classes) != len(VOC_CLASSES):
        raise DatasetError(
            f"{folder} is Pascal VOC with 20 classes, but the backbone has {len(classes)}: give one that was "
            f"trained on VOC's classes in alphabetical order, from your own checkpoint; {_IGNORE}."
        )
    listing = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        there = ", ".join(splits(folder)) or "there is none"
        raise DatasetError(f"{listing} is missing: choose a split that has its list ({there}).")
    names = listing.read_text("utf-8").split()
    if classes is None:
        return [Entry(f"{name}.jpg", _below(folder / "JPEGImages", f"{name}.jpg", listing)) for name in names]
    return [_voc_entry(folder, name, listing) for name in names]


def _voc_entry(folder: Path, name: str, listing: Path) -> Entry:
    path = _below(folder / "JPEGImages", f"{name}.jpg", listing)
    annotation = _below(folder / "Annotations", f"{name}.xml", listing)
    mask = _below(folder / "SegmentationClass", f"{name}.png", listing)
    labels, marked = set(), []
    try:
        for thing in ElementTree.parse(annotation).iterfind("object"):
            name_of = thing.findtext("name", "")
            if name_of not in VOC_CLASSES:
                raise ValueError(f"{name_of[:40]!r} is none of its 20 classes")
            label = VOC_CLASSES.index(name_of)
            if thing.findtext("difficult") != "1":
                labels.add(label)
            left, top, right, bottom = (
                float(thing.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            marked.append(((left - 1, top - 1, right, bottom), label))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DatasetError(
            f"{annotation} cannot be read as an annotation of Pascal VOC ({first_line(error)}): copy it again."
        ) from error
    return Entry(
        f"{name}.jpg",
        path,
        tuple(sorted(labels)),
        _boxes(path, marked, annotation),
        mask if mask.is_file() else None,
    )


def _labelled(entries: Sequence[Entry], path: Path, classes: Sequence[str]) -> list[Entry]:
    if path.name == _GROUND_TRUTH:
        labels = _devkit_labels(path, entries, classes)
    else:
        rows = read_labels(path, {entry.identifier for entry in entries})
        _check_names([name for name, _ in rows], path)
        labels = dict(rows)
    return [
        replace(entry, labels=(labels[entry.identifier],) if entry.identifier in labels else ())
        for entry in entries
    ]


def _devkit_labels(path: Path, entries: Sequence[Entry], classes: Sequence[str]) -> dict[str, int]:
    """Labels by identifier. The devkit numbers the classes in an order of its own, which ``meta.mat`` explains."""
    meta = path.with_name("meta.mat")
    remedy = "take both files from ILSVRC2012_devkit_t12/data, or give class folders or a CSV file of labels."
    if len(classes) != 1000:
        raise DatasetError(
            f"{path} labels ImageNet's 1000 classes, but the backbone has {len(classes)}: choose another backbone, "
            f"or give a CSV file of labels; {_IGNORE}."
        )
    if not meta.is_file():
        raise DatasetError(
            f"{path} counts classes in an order that only {meta} tells, which is missing: {remedy}"
        )
    found = ((entry.identifier, _VALIDATION.search(entry.identifier)) for entry in entries)
    places = {identifier: int(match[1]) for identifier, match in found if match}
    if not places:
        raise DatasetError(f"{path} is for pictures named ILSVRC2012_val_00000001 to _00050000: {remedy}")
    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        names = dict(zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True))
        indices = {synset: index for index, synset in enumerate(ImageNetInfo().label_names())}
        numbers = [0, *map(int, path.read_text("utf-8").split())]
        return {identifier: indices[names[numbers[place]]] for identifier, place in places.items()}
    except Exception as error:  # a damaged file can make scipy raise nearly anything
        raise DatasetError(
            f"{path} and {meta} cannot be read ({first_line(error)[:120]}): {remedy}"
        ) from error


def _boxed(entries: Sequence[Entry], table: Path) -> list[Entry]:
    def marked(row: dict[str, str]) -> tuple[Corners, int | None]:
        left, top, right, bottom = (float(row[column]) for column in ("x0", "y0", "x1", "y1"))
        return (left, top, right, bottom), int(row["class_index"]) if row.get("class_index") else None

    columns = "file, x0, y0, x1, y1 and perhaps class_index"
    found = defaultdict(list)
    for name, box in read_table(table, "boxes", columns, marked, {entry.identifier for entry in entries}):
        found[name].append(box)
    return [replace(entry, boxes=_boxes(entry.path, found[entry.identifier], table)) for entry in entries]


def _boxes(path: Path, marked: Sequence[tuple[Corners, int | None]], told_by: Path) -> tuple[Box, ...]:
    """Rectangles in pixels of the stored file as boxes; none of a file that cannot be read, told when it is decoded."""
    if not marked:
        return ()
    try:
        width, height, orientation = images.measure(path)
    except ImageError:
        return ()
    boxes = []
    for corners, label in marked:
        left, top, right, bottom = (
            min(max(value, 0.0), side) / side
            for value, side in zip(corners, (width, height, width, height), strict=True)
        )
        within = min(corners[:2]) >= -1 and corners[2] <= width + 1 and corners[3] <= height + 1
        if not (within and left < right and top < bottom):
            raise DatasetError(
                f"{told_by} gives {path.name}, which has {width} x {height} pixels, the box {corners}: it must "
                "be left, top, right, bottom within the picture."
            )
        boxes.append(Box(*_turned((left, top, right, bottom), orientation), label))
    return tuple(boxes)


def _turned(corners: Corners, orientation: int) -> Corners:
    """Fractions of a stored picture as fractions of the upright one (EXIF 2.32, tag 0x0112)."""
    left, top, right, bottom = corners
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    return left, top, right, bottom


def _undotted(path: Path) -> Path:
    """Absolute and without "..", its links not followed: those below a folder belong to it."""
    return Path(os.path.normpath(Path.cwd() / path))


def _below(folder: Path, name: str, told_by: Path) -> Path:
    path = _undotted(folder / name)
    if "\0" in name or not path.is_relative_to(_undotted(folder)):
        raise DatasetError(
            f"{told_by} names {name[:80]!r}, which is not below {folder}: keep the pictures there."
        )
    return path


def _check_names(names: Sequence[str], told_by: Path) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DatasetError(f"{told_by} names {twice[0]} more than once: keep one of them.")
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise DatasetError(f"{told_by} names {name!r}, which is not in UTF-8: rename that file.")
