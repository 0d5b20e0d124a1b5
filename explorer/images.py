"""Uploads, local files and samples made into pictures: upright, opaque, 8-bit RGB, of bounded size.

Pillow is handed only the parts of a file that decide its pixels, because its header parsers trust the file:
text, profile or EXIF blocks repeated up to 10 MB cost Pillow 13 more than 200 MB or 20 seconds.
"""

import hashlib
import importlib.util
import re
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.errors import ExplorerError

MAX_UPLOAD = 10 * 2**20  # bytes
MAX_LOCAL = 100 * 2**20  # bytes
MAX_PIXELS = {"JPEG": 40_000_000, "PNG": 40_000_000, "WebP": 20_000_000}  # libwebp holds a picture four times
MAX_SIDE = 12_000  # pixels
MAX_RATIO = 20  # of the sides: bringing the short one to a network's input multiplies the long one
SHORT_SIDE = 1024  # pixels; networks see 600 at most
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp"}
)  # of files taken for pictures in a folder, in lower case

_MAX_BLOCKS = 20_000
_MAX_TABLES = 2**17  # bytes before a JPEG's first scan
_MAX_SCANS = 64  # of a JPEG: under 100 bytes of the file make a pass over the whole picture
_CUT_SHORT = "is cut short: copy or download it again."
_DAMAGED = "is damaged or of a rare kind: open it in an image editor and save it again as JPEG or PNG."
_OTHER_FORMATS = re.compile(
    rb"(?s)(?P<GIF>GIF8)|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM.{4}\0{4})|(?P<PDF>%PDF-)"
    rb"|(?P<AVIF>.{4}ftypavi[fs])|(?P<HEIC>.{4}ftyp(?:hei|hev|mif1|msf1))"
    rb"|(?P<SVG>(?:\xef\xbb\xbf)?\s*<(?:.{0,2000}<)?svg\b)"
)
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KEPT = _JPEG_FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}  # tables, JFIF, Adobe's colour transform
_PNG_KEPT = {b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"}
_GREYS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLES = {
    "chelsea": ("Chelsea, a tabby cat", "skimage", "data/chelsea.png"),
    "coffee": ("A cup of espresso on a wooden table", "skimage", "data/coffee.png"),
    "rocket": ("A rocket on its launch pad at dusk", "skimage", "data/rocket.jpg"),
    "astronaut": ("Eileen Collins, astronaut", "skimage", "data/astronaut.png"),
    "motorcycle": ("A red motorcycle in a garage", "skimage", "data/motorcycle_left.png"),
    "china": ("A tower of the Summer Palace, Beijing", "sklearn", "datasets/images/china.jpg"),
}
SAMPLES: dict[str, str] = {identifier: title for identifier, (title, _, _) in _SAMPLES.items()}


class ImageError(ExplorerError):
    """A file that cannot become a picture: one sentence that names it, the reason and the remedy."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Args:
        name: file name as given, for display only.
        digest: SHA-256 of the source bytes, in hexadecimal.
        pixels: (height, width, 3) uint8, taken as sRGB; read-only.
    """

    name: str
    digest: str
    pixels: NDArray[np.uint8]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def image(self) -> Image.Image:
        """The pixels as a Pillow image, mode RGB."""
        return Image.fromarray(self.pixels)


class _Source(NamedTuple):
    """A file less its metadata: the (width, height) it claims, and its EXIF block where that was cut out."""

    format: str
    size: tuple[int, int]
    data: bytes
    exif: bytes = b""


def decode(data: bytes, name: str, max_bytes: int = MAX_UPLOAD) -> Picture:
    """A JPEG, PNG or WebP file as a picture: upright, on white, its first frame, the short side at most 1024.

    Colour profiles are ignored: so they were in training, and a hostile one meets no parser. CMYK is read as
    Adobe writes it, inverted. 16-bit samples are divided by 257.

    Raises:
        ImageError: for a file that is empty, over ``max_bytes``, of another format, cut short or damaged, or
            that claims over 40 megapixels (WebP: 20), a side over 12,000 pixels or sides over 20 to 1.
    """
    _check_weight(name, len(data), max_bytes)
    try:
        source = _source(data)
        _check_size(source)
        pixels = _pixels(source)
    except ImageError as refusal:
        raise ImageError(f"{_shown(name)} {refusal}") from None
    except struct.error as error:
        raise ImageError(f"{_shown(name)} {_CUT_SHORT}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{_shown(name)} {_DAMAGED}") from error
    return Picture(name, hashlib.sha256(data).hexdigest(), pixels)


def load(path: Path) -> Picture:
    """The picture in a local file of at most 100 MB, as ``decode`` makes it.

    Raises:
        ImageError: also for a path that is missing, unreadable or a directory.
    """
    try:
        _check_weight(path.name, path.stat().st_size, MAX_LOCAL)
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{_shown(path.name)} cannot be read ({error.strerror}): check the path.") from error
    return decode(data, path.name, MAX_LOCAL)


def measure(path: Path) -> tuple[int, int, int]:
    """(width, height) of a local file as stored, and its EXIF orientation, 1 (upright) to 8; nothing is decoded.

    Raises:
        ImageError: for a file that is missing or that Pillow does not take for a JPEG, PNG or WebP picture.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WebP")) as image:
            return *image.size, _orientation(image.info.get("exif", b""))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{_shown(path.name)} {_DAMAGED}") from error


@cache
def sample(identifier: str) -> Picture:
    """One of ``SAMPLES``, out of scikit-image or scikit-learn, which are not imported.

    Raises:
        ImageError: for an unknown identifier, or where the package is missing.
    """
    return replace(load(sample_path(identifier)), name=identifier)


def sample_path(identifier: str) -> Path:
    """The file of one of ``SAMPLES``.

    Raises:
        ImageError: for an unknown identifier, or where the package is missing.
    """
    if identifier not in _SAMPLES:
        raise ImageError(f"{_shown(identifier)} is not a sample: choose one of {', '.join(SAMPLES)}.")
    _, package, file = _SAMPLES[identifier]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImageError(f"{_shown(identifier)} is a file of {package}, which is missing: install {package}.")
    return Path(spec.origin).parent / file


def _shown(name: str) -> str:
    """A name fit for a sentence: printable, in quotes, 60 characters at most with its ending kept."""
    shown = "".join(filter(str.isprintable, name))
    return f'"{shown}"' if len(shown) <= 60 else f'"{shown[:39]}…{shown[-20:]}"'


def _check_weight(name: str, size: int, limit: int) -> None:
    if not size:
        raise ImageError(f"{_shown(name)} is empty: choose a JPEG, PNG or WebP picture.")
    if size > limit:
        weight = f"{size / 2**20:.1f} MB, over the limit of {limit / 2**20:g} MB"
        raise ImageError(f"{_shown(name)} has {weight}: make it smaller.")


def _check_size(source: _Source) -> None:
    (short, long), limit = sorted(source.size), MAX_PIXELS[source.format]
    claim = f"has {source.size[0]:,} x {source.size[1]:,} pixels"
    if long > MAX_SIDE:
        raise ImageError(f"{claim}, over the limit of {MAX_SIDE:,} a side: make it smaller.")
    if short * long > limit:
        raise ImageError(f"{claim}, over the {limit // 10**6} million of a {source.format}: make it smaller.")
    if 0 < MAX_RATIO * short < long:
        raise ImageError(f"{claim}, one side over {MAX_RATIO} times the other: crop it.")


def _source(data: bytes) -> _Source:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if other := _OTHER_FORMATS.match(data[:4096]):
        raise ImageError(f"is in {other.lastgroup} format, which is not read here: save it as JPEG or PNG.")
    raise ImageError("is no JPEG, PNG or WebP picture, whatever its name says: choose one that is.")


def _jpeg(data: bytes) -> _Source:
    """Tables, frame and scans (ITU-T T.81, annex B)."""
    kept, size, exif, at = [data[:2]], (0, 0), b"", 2
    for _ in range(_MAX_BLOCKS):
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            raise ImageError(_CUT_SHORT)
        marker, start = found[1][0], found.end()
        if marker == 0xDA:
            stop = data.find(b"\xff\xd9", start)
            if stop < 0:
                raise ImageError(_CUT_SHORT)
            if sum(map(len, kept)) > _MAX_TABLES or data.count(b"\xff\xda", start, stop) >= _MAX_SCANS:
                break
            return _Source("JPEG", size, b"".join([*kept, data[found.start() :]]), exif)
        at = start + struct.unpack_from(">H", data, start)[0]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 3)
            size = (width, height)
        if marker in _JPEG_KEPT:
            kept.append(data[found.start() : at])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start + 2):
            exif = exif or data[start + 2 : at]
    raise ImageError(_DAMAGED)


def _png(data: bytes) -> _Source:
    """Header, palette, transparent colour, orientation and default image (W3C PNG, its frames left out)."""
    width, height = struct.unpack_from(">II", data, 16)
    kept, at = [data[:33]], 33
    for _ in range(_MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_KEPT:
            kept.append(data[at : at + length + 12])
        if kind == b"IEND":
            return _Source("PNG", (width, height), b"".join(kept))
        at += length + 12
    raise ImageError(_DAMAGED)


def _webp(data: bytes) -> _Source:
    """The whole file; its canvas is read first because libwebp allots it on opening (RFC 9649, section 2)."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ImageError(_CUT_SHORT)
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return _Source("WebP", (width, height), data)


def _pixels(source: _Source) -> NDArray[np.uint8]:
    image = Image.open(BytesIO(source.data), formats=(source.format,))
    if image.size != source.size or (image.mode == "P" and image.palette is None):
        raise ImageError(_DAMAGED)
    image.draft(None, (2 * SHORT_SIDE, 2 * SHORT_SIDE))
    image.load()
    turn = _TURNS.get(_orientation(source.exif or image.info.get("exif", b"")))
    picture = _opaque(image)
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        width, height = (round(scale * side) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if turn is not None:
        picture = picture.transpose(turn)
    return np.asarray(picture.convert("RGB"))


def _opaque(image: Image.Image) -> Image.Image:
    """The image on white, mode L or RGB."""
    if image.mode.startswith("I"):
        return Image.fromarray(_GREYS[np.asarray(image)])
    if image.has_transparency_data:
        white = Image.new("RGB", image.size, "white")
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white.paste(layer, mask=layer)
        return white
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _orientation(exif: bytes) -> int:
    """Orientation, 1 to 8, in the first directory of an EXIF block (EXIF 2.32, tag 0x0112), else 1.

    Pillow's ``exif_transpose`` fails where another tag is malformed, and warns once for each of thousands.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = "<" if block.startswith(b"II") else ">"
    with suppress(struct.error):
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, value = struct.unpack_from(order + "H6xH", block, entry)
            if tag == 0x0112:
                return value
    return 1
