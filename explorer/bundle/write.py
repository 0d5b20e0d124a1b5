"""A wall written as one ZIP file: pictures, maps, overlays, figure, tables, references, manifest."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from explorer.bundle.citation import bibtex
from explorer.bundle.contents import MANIFEST, MAX_BYTES
from explorer.bundle.readme import readme
from explorer.bundle.wall import Hung, Line, Wall
from explorer.compute import Figures, Progress
from explorer.errors import ExplorerError
from explorer.metrics import Metric
from explorer.render.arrays import npy
from explorer.render.manifest import as_json, manifest
from explorer.render.overlay import jpeg, png
from explorer.render.publication import FORMATS, Row, encoded, grid
from explorer.render.views import drawn

_PREVIEW = 1400  # pixels
_ABOUT = ("map", "picture", "network", "layer", "method")
_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal walls give equal files


@dataclass(frozen=True, eq=False)
class Packed:
    """The bundle, a ZIP file, the figure inside it by format, and a JPEG of it for the page."""

    archive: bytes
    figure: dict[str, bytes]
    preview: bytes


def pack(wall: Wall, progress: Progress) -> Packed:
    """Everything on a wall as files.

    Raises:
        ExplorerError: no map, a figure that cannot be drawn, or over 500 MB.
    """
    count = sum(len(row.maps) for row in wall.rows)
    if not count:
        raise ExplorerError("There is no map on the wall yet: wait for one.")
    progress.begin("Drawing the figure")
    rows = [
        Row(row.picture, row.title, [(hung.column, hung.explanation) for hung in row.maps])
        for row in wall.rows
        if row.maps
    ]
    sheet = grid(rows, wall.layout)
    figure = {kind: encoded(sheet, kind) for kind in FORMATS}
    progress.begin("Making the bundle", count)
    buffer, digests, size = io.BytesIO(), {}, 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in _files(wall, figure, progress):
            digests[name] = hashlib.sha256(data).hexdigest()
            size += len(data)
            if size > MAX_BYTES:
                raise ExplorerError(
                    f"The bundle would be over {MAX_BYTES // 2**20} MB: choose fewer pictures or methods."
                )
            archive.writestr(_member(name), data)
        archive.writestr(_member(MANIFEST), as_json(_manifest(wall, digests)) + "\n")
    return Packed(
        buffer.getvalue(), figure, jpeg(Image.open(io.BytesIO(figure["png"])).convert("RGB"), _PREVIEW)
    )


def _files(wall: Wall, figure: dict[str, bytes], progress: Progress) -> Iterator[tuple[str, bytes]]:
    """All but the manifest, by name."""
    layout, ends = wall.layout, wall.ends
    for number, picture in wall.pictures.values():
        yield f"pictures/{number:02}.png", png(picture.image)
    for name, row, hung in wall.named():
        explanation = hung.explanation
        yield f"maps/{name}.npy", npy(explanation.attribution.saliency.numpy())
        yield f"signed/{name}.npy", npy(explanation.attribution.signed.numpy())
        scale = ends.get(str(explanation.request.method))
        yield f"overlays/{name}.png", png(drawn(row.picture, explanation, layout, scale))
        progress.advance(1)
    for kind, data in figure.items():
        yield f"figure.{kind}", data
    if curves := [*_curves(wall)]:
        head = ("removed_percent", "probability", "gain", "recommended")
        yield "calibration.csv", _table((*_ABOUT, "class", *head), curves)
    shown = [hung for _, _, hung in wall.named()]
    methods = [hung.explanation.request.method for hung in shown]
    metrics = wall.metrics if any(hung.figures for hung in shown) else ()
    if metrics:
        yield (
            "faithfulness.csv",
            _table((*_ABOUT, "class", "maps", "metric", "settings", "value"), _figures(wall)),
        )
    yield "references.bib", bibtex(one.paper for one in (*methods, *metrics)).encode()
    yield "README.md", readme(wall).encode("utf-8", "replace")


def _curves(wall: Wall) -> Iterator[tuple[object, ...]]:
    for name, row, hung in wall.named():
        if (curve := hung.explanation.calibration) is not None:
            about = (*_about(name, row, hung), hung.explanation.label)
            for level, probability, gain in zip(curve.removed, curve.probabilities, curve.gains, strict=True):
                yield (*about, level, probability, gain, "yes" if level == curve.cut else "no")


def _figures(wall: Wall) -> Iterator[tuple[object, ...]]:
    settings = {str(metric): metric.describe() for metric in wall.metrics}
    for name, row, hung in wall.named():
        if hung.figures is not None:
            about = (*_about(name, row, hung), hung.explanation.label)
            for variant, values in (("plain", hung.figures.plain), ("calibrated", hung.figures.calibrated)):
                for metric, value in values.items():
                    yield (*about, variant, metric, settings.get(metric, ""), value)


def _about(name: str, row: Line, hung: Hung) -> tuple[str, ...]:
    explanation = hung.explanation
    network = (explanation.request.backbone, explanation.layer.name)
    return (name, row.picture.name, *network, explanation.request.method.name)


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    return text.getvalue().encode("utf-8", "replace")


def _manifest(wall: Wall, digests: dict[str, str]) -> dict[str, object]:
    numbers, shown = wall.pictures, []
    paths: dict[int, dict[str, str]] = {}
    measured: dict[int, tuple[Figures, Sequence[Metric]]] = {}
    for position, (name, row, hung) in enumerate(wall.named()):
        number, picture = numbers[row.picture.digest]
        paths[position] = {
            "picture": f"pictures/{number:02}.png",
            "map": f"maps/{name}.npy",
            "signed": f"signed/{name}.npy",
            "overlay": f"overlays/{name}.png",
        }
        if hung.figures is not None:
            measured[position] = (hung.figures, wall.metrics)
        shown.append(replace(hung.explanation, name=picture.name))
    return manifest(shown, paths, measured, digests)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_STORED if name.endswith((".png", ".pdf")) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
