"""What a manifest says of each map, read with suspicion."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from explorer import images
from explorer.bundle.contents import MANIFEST, BundleError, Contents, contents, printable
from explorer.compute import Request
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.library import RULES
from explorer.methods import Method, find
from explorer.probe import Precision

T = TypeVar("T")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_REMEDY = "take it from the page again, or use the version that made it"


@dataclass(frozen=True)
class Kept:
    """A map of a bundle and what it was made of.

    Args:
        number: of its picture, from 1, in the order in which pictures first come.
        name, digest: of its picture, the digest (sha256) of the file that was decoded.
        weights, fingerprint: of the backbone and of the library, None without one.
        label: of the explained class.
        map_file, map_digest: the map as it was written.
        picture_file: None where the bundle holds no pictures.
    """

    number: int
    name: str
    digest: str
    request: Request
    weights: str
    fingerprint: str | None
    label: str
    map_file: str
    map_digest: str
    picture_file: str | None


@dataclass(frozen=True)
class Bundle:
    """The maps of a bundle, which are its items, the versions and the machine that made them, and its files."""

    maps: tuple[Kept, ...]
    versions: dict[str, str]
    device: str
    threads: int
    contents: Contents

    def __iter__(self) -> Iterator[Kept]:
        return iter(self.maps)

    def picture(self, kept: Kept, given: Sequence[Picture] = ()) -> Picture:
        """The picture of a map: that of the bundle, else one of those given, else a sample, with the same digest.

        Raises:
            BundleError: there is none.
            ImageError: the file is no picture.
        """
        if kept.picture_file is not None:
            data = self.contents.read(kept.picture_file)
            picture = images.decode(data, kept.name, images.MAX_LOCAL)
            return replace(picture, digest=kept.digest)
        samples = (images.sample(name) for name in images.SAMPLES)
        for picture in (*given, *samples):
            if picture.digest == kept.digest:
                return picture
        raise BundleError(f"The bundle does not hold the photograph {kept.name!r}: name its file too.")


def opened(path: str | Path) -> Bundle:
    """The bundle in a ZIP file or in its unpacked folder, or the folder that ``explain --out`` has written.

    Raises:
        BundleError: it is none, or its manifest is damaged or of another version.
    """
    files = contents(Path(path))
    try:
        document = json.loads(files.read(MANIFEST))
        machine = _of(document, "machine", dict)
        numbers: dict[str, int] = {}
        digests = _of(document, "files", dict)
        return Bundle(
            tuple(_kept(entry, numbers, digests) for entry in _of(document, "explanations", list)),
            {printable(str(n)): printable(str(v)) for n, v in _of(document, "versions", dict).items()},
            printable(_of(machine, "device", str)),
            _of(machine, "threads", int),
            files,
        )
    except ExplorerError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} of the bundle cannot be understood: {_REMEDY}.") from error


def _kept(entry: Any, numbers: dict[str, int], digests: Any) -> Kept:
    picture, backbone, files = (_of(entry, key, dict) for key in ("picture", "backbone", "files"))
    library = _of(entry, "library", dict | None) or {}
    digest = _digest(picture, "sha256")
    return Kept(
        numbers.setdefault(digest, len(numbers) + 1),
        printable(_of(picture, "name", str)),
        digest,
        _request(entry, backbone, library),
        _digest(backbone, "weights_sha256"),
        _of(library, "fingerprint", str) if library else None,
        printable(_of(_of(entry, "class", dict), "name", str)),
        _of(files, "map", str),
        _digest(digests, _of(files, "map", str)),
        _of(files, "picture", str) if "picture" in files else None,
    )


def _request(entry: Any, backbone: Any, library: Any) -> Request:
    """What is to be asked for to have the same map; the class is the one that was explained, predicted or not."""
    chosen: dict[str, Any] = {}
    if library:
        chosen = {
            "library": _of(library, "name", str),
            "rule": _among(_of(library, "rule", str), RULES),
            "seed": _within(_of(library, "seed", int), 0, 2**32 - 1),
            "limit": _of(library, "limit", float | int),
            "pinned": _several(library, "pinned", str),
            "excluded": _several(library, "excluded", str),
        }
    return Request(
        backbone=_of(backbone, "name", str),
        layer=_of(backbone, "layer", str),
        method=_method(_of(entry, "method", dict)),
        target=_of(_of(entry, "class", dict), "index", int),
        levels=_several(entry, "levels_percent", int),
        precision=_among(_of(entry, "precision", str), get_args(Precision)),
        **chosen,
    )


def _method(written: Any) -> Method:
    """A registered method with options, which it checks itself."""
    method, options = find(_of(written, "name", str)), _of(written, "options", dict)
    if unknown := options.keys() - {item.name for item in fields(method)}:
        raise BundleError(f"{method.title} has no option {printable(min(unknown))!r} here: {_REMEDY}.")
    return method(**options)


def _of(document: Any, key: str, kind: Any) -> Any:
    """A value of a JSON object; KeyError and TypeError where it is missing or of another type."""
    value = document[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(key)
    return value


def _several(document: Any, key: str, kind: type[T]) -> tuple[T, ...]:
    values = _of(document, key, list)
    if any(type(value) is not kind for value in values):
        raise TypeError(key)
    return tuple(values)


def _digest(document: Any, key: str) -> str:
    digest = _of(document, key, str)
    if not _DIGEST.fullmatch(digest):
        raise ValueError(key)
    return str(digest)


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _among(value: str, known: Mapping[Any, str] | Sequence[str]) -> Any:
    if value not in known:
        raise ValueError(value)
    return value
