import hashlib
import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from explorer import images
from explorer.images import SAMPLES, ImageError, decode, load, sample

COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [128, 128, 128]]], np.uint8
)
FLAG = COLOURS.repeat(16, 0).repeat(16, 1)  # 32 x 48, whole blocks of a JPEG
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(picture: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, format, **options)
    return file.getvalue()


def jpeg(picture: np.ndarray | Image.Image, **options: Any) -> bytes:
    return encoded(picture, "JPEG", **{"quality": 95, "subsampling": 0} | options)


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """A JPEG with APP1 segments of these bodies."""
    return file[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + file[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], *chunks: bytes) -> bytes:
    """A PNG by hand: ``colour`` 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA; big-endian ``rows``."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 1))
    return SIGNATURE + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def exif(orientation: int, order: str = "<", *others: bytes) -> bytes:
    """An EXIF block by hand: the orientation, then other 12-byte entries."""
    entries = [struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0), *others]
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)


STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.32: where the first row and column belong
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(orientation: int, format: str, order: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation](FLAG))
    block = exif(orientation, order)
    if format == "JPEG":
        file = with_segments(jpeg(stored), b"Exif\0\0" + block)
    else:
        file = encoded(stored, format, exif=block, **({"lossless": True} if format == "WEBP" else {}))
    assert np.abs(decode(file, "flag").pixels - FLAG.astype(int)).max() <= (3 if format == "JPEG" else 0)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(exif(6), id="contradicted by a second block"),
        pytest.param(exif(6, "<", struct.pack("<HHI4s", 0x011A, 2, 4, b"abc\0")), id="text for a number"),
        pytest.param(exif(6) + b"\xff" * 500, id="rubbish behind"),
        pytest.param(exif(6).replace(b"\x01\0\x12", b"\x09\0\x12", 1), id="fewer entries than announced"),
    ],
)
def test_orientation_survives_disorder(block: bytes) -> None:
    stored = np.ascontiguousarray(STORED[6](FLAG))
    file = with_segments(jpeg(stored), b"Exif\0\0" + block, b"Exif\0\0" + exif(3))
    picture = decode(file, "flag.jpg")
    assert np.abs(picture.pixels - FLAG.astype(int)).max() <= 3


@pytest.mark.parametrize("block", [b"", b"II*\0", b"rubbish", exif(9), exif(0), exif(6)[:12]])
def test_unreadable_orientation_means_upright(block: bytes) -> None:
    picture = decode(with_segments(jpeg(FLAG), b"Exif\0\0" + block), "flag.jpg")
    assert np.abs(picture.pixels - FLAG.astype(int)).max() <= 3


def cmyk(*inks: int) -> bytes:
    return jpeg(Image.new("CMYK", (16, 16), inks))


def ycck(luma: int, blue: int, red: int) -> bytes:
    """A YCCK JPEG without black: a CMYK file, its samples stored inverted, with Adobe's transform set to 2."""
    file = bytearray(cmyk(255 - luma, 255 - blue, 255 - red, 0))
    file[file.index(b"Adobe") + 11] = 2
    return bytes(file)


def frames(format: str) -> bytes:
    first, second = Image.fromarray(FLAG), Image.fromarray(FLAG[::-1].copy())
    return encoded(first, format, save_all=True, append_images=[second], duration=50, lossless=True)


def hidden_default_image() -> bytes:
    return encoded(
        Image.fromarray(FLAG),
        "PNG",
        save_all=True,
        default_image=True,
        append_images=[Image.new("RGB", (48, 32))] * 2,
    )


def words(*samples: int) -> bytes:
    return struct.pack(f">{len(samples)}H", *samples)


TEXT_BOMB = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24), 9))
PROFILE_BOMB = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**24), 9))
PALETTE = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255, 0, 0, 0]))
WHITE, RED, BLACK, BLUE = [255] * 3, [255, 0, 0], [0] * 3, [0, 0, 255]


@pytest.mark.parametrize(
    ("file", "expected", "tolerance"),
    [
        pytest.param(
            png(5, 1, 16, 0, [words(0, 129, 0x8080, 0xFE00, 65535)]),
            [[0] * 3, [1] * 3, [128] * 3, [253] * 3, WHITE],
            0,
            id="16-bit grey",
        ),
        pytest.param(
            png(2, 1, 16, 2, [words(65535, 32896, 0, 257, 0x4040, 0xFFFF)]),
            [[255, 128, 0], [1, 64, 255]],
            1,
            id="16-bit RGB",
        ),
        pytest.param(
            png(2, 1, 16, 6, [words(0, 0, 0, 0x8080, 65535, 0, 0, 65535)]),
            [[127] * 3, RED],
            1,
            id="16-bit RGBA",
        ),
        pytest.param(
            png(2, 1, 16, 4, [words(0, 0, 0x8080, 65535)]), [WHITE, [128] * 3], 1, id="16-bit grey and alpha"
        ),
        pytest.param(png(3, 1, 8, 3, [b"\0\1\2"], PALETTE), [RED, BLUE, BLACK], 0, id="palette"),
        pytest.param(
            png(3, 1, 8, 3, [b"\0\1\2"], PALETTE, chunk(b"tRNS", b"\xff\0\x80")),
            [RED, WHITE, [127] * 3],
            0,
            id="palette with alpha",
        ),
        pytest.param(
            png(3, 1, 8, 3, [b"\0\1\2"], PALETTE, chunk(b"tRNS", b"\xff\0")),
            [RED, WHITE, BLACK],
            0,
            id="palette with a clear colour",
        ),
        pytest.param(png(8, 1, 1, 0, [b"\xa0"]), [WHITE, BLACK, WHITE] + [BLACK] * 5, 0, id="1-bit"),
        pytest.param(png(4, 1, 2, 0, [b"\x1b"]), [[0] * 3, [85] * 3, [170] * 3, WHITE], 0, id="2-bit"),
        pytest.param(png(2, 1, 8, 0, [b"\x07\xc8"]), [[7] * 3, [200] * 3], 0, id="grey"),
        pytest.param(
            png(2, 1, 8, 0, [b"\x07\xc8"], chunk(b"tRNS", words(7))),
            [WHITE, [200] * 3],
            0,
            id="grey, 7 is clear",
        ),
        pytest.param(
            png(2, 1, 8, 4, [bytes([0, 128, 50, 255])]), [[127] * 3, [50] * 3], 0, id="grey and alpha"
        ),
        pytest.param(
            png(2, 1, 8, 2, [bytes([1, 2, 3, 3, 2, 1])], chunk(b"tRNS", words(1, 2, 3))),
            [WHITE, [3, 2, 1]],
            0,
            id="RGB, one colour is clear",
        ),
        pytest.param(
            png(3, 1, 8, 6, [bytes([255, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 51])]),
            [RED, WHITE, [204] * 3],
            0,
            id="RGBA",
        ),
        pytest.param(cmyk(0, 255, 255, 0), [[RED] * 16] * 16, 2, id="CMYK JPEG, red"),
        pytest.param(cmyk(0, 0, 0, 205), [[[50] * 3] * 16] * 16, 2, id="CMYK JPEG, grey"),
        pytest.param(ycck(179, 171, 1), [[RED] * 16] * 16, 3, id="YCCK JPEG, red"),
        pytest.param(jpeg(np.full((16, 16), 90, np.uint8)), [[[90] * 3] * 16] * 16, 1, id="grey JPEG"),
        pytest.param(jpeg(FLAG), FLAG, 3, id="baseline JPEG"),
        pytest.param(jpeg(FLAG, progressive=True), FLAG, 3, id="progressive JPEG"),
        pytest.param(jpeg(FLAG) + jpeg(FLAG[::-1].copy()), FLAG, 3, id="second JPEG behind the first"),
        pytest.param(encoded(FLAG, "WEBP", lossless=True), FLAG, 0, id="lossless WebP"),
        pytest.param(encoded(np.full_like(FLAG, 90), "WEBP"), np.full_like(FLAG, 90), 2, id="lossy WebP"),
        pytest.param(
            encoded(np.array([[[9, 9, 9, 0], [255, 0, 0, 255]]], np.uint8), "WEBP", lossless=True),
            [WHITE, RED],
            0,
            id="WebP with alpha",
        ),
        pytest.param(frames("WEBP"), FLAG, 0, id="animated WebP"),
        pytest.param(frames("PNG"), FLAG, 0, id="animated PNG"),
        pytest.param(hidden_default_image(), FLAG, 0, id="animated PNG with a default image"),
        pytest.param(
            png(1, 1, 8, 0, [b"\x07"], TEXT_BOMB, PROFILE_BOMB), [[7] * 3], 0, id="PNG with zlib bombs"
        ),
    ],
)
def test_decoded_values(file: bytes, expected: Any, tolerance: int) -> None:
    pixels, expected = decode(file, "picture").pixels, np.array(expected, int)
    expected = expected if expected.ndim == 3 else expected[None]
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= tolerance


def test_progressive_equals_baseline() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    baseline, progressive = (decode(jpeg(noise, progressive=p), "noise.jpg").pixels for p in (False, True))
    assert np.abs(baseline.astype(int) - progressive).max() <= 1
    assert np.abs(baseline.astype(int) - noise).mean() < 5


@pytest.mark.parametrize("channels", [0, 2])
def test_16_bit_means(channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 2**16, (64, 64 * (channels + 1)), dtype=np.uint16)
    file = png(64, 64, 16, channels, [row.astype(">u2").tobytes() for row in samples])
    assert abs(decode(file, "noise.png").pixels.mean() - samples.mean() / 257) < 0.6


def halves(height: int, width: int) -> np.ndarray:
    """Red on the left, blue on the right."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, 0] = picture[:, width // 2 :, 2] = 255
    return picture


@pytest.mark.parametrize(
    ("file", "shape"),
    [
        pytest.param(jpeg(halves(2200, 4400)), (1024, 2048), id="JPEG"),
        pytest.param(jpeg(halves(4200, 4400), quality=50), (1024, 1073), id="JPEG decoded at half size"),
        pytest.param(encoded(halves(1500, 1100), "PNG"), (1396, 1024), id="PNG"),
        pytest.param(encoded(halves(1024, 1600), "PNG"), (1024, 1600), id="at the bound"),
        pytest.param(
            with_segments(jpeg(halves(1100, 2200)[::-1, ::-1].copy()), b"Exif\0\0" + exif(3)),
            (1024, 2048),
            id="turned",
        ),
    ],
)
def test_short_side_is_reduced(file: bytes, shape: tuple[int, int]) -> None:
    picture = decode(file, "halves")
    height, width = shape
    assert picture.pixels.shape == (height, width, 3)
    assert np.abs(picture.pixels[:, : width // 2 - 8] - np.array(RED)).max() <= 3
    assert np.abs(picture.pixels[:, width // 2 + 8 :] - np.array(BLUE)).max() <= 3


def test_reduction_averages() -> None:
    checks = np.indices((2048, 2048)).sum(0).astype(np.uint8) % 2 * 255
    pixels = decode(encoded(checks, "PNG"), "checks.png").pixels
    assert pixels.shape == (1024, 1024, 3)
    assert np.abs(pixels[2:-2, 2:-2] - 127.5).max() <= 1


def test_picture_describes_its_pixels() -> None:
    file = encoded(FLAG, "PNG")
    picture = decode(file, "a/b\nflag.png")
    assert (picture.name, picture.width, picture.height) == ("a/b\nflag.png", 48, 32)
    assert picture.digest == hashlib.sha256(file).hexdigest()
    assert picture.pixels.dtype == np.uint8
    assert picture.image.mode == "RGB"
    assert np.array_equal(np.asarray(picture.image), FLAG)
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        picture.pixels.flags.writeable = True


def webp(kind: bytes, body: bytes) -> bytes:
    """A WebP that holds one chunk."""
    chunks = b"WEBP" + kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size than its data has."""
    file = bytearray(jpeg(FLAG))
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(file)


def spoiled(file: bytes, at: float) -> bytes:
    """The file with a stretch of its data overwritten."""
    start = int(at * len(file))
    return file[:start] + bytes(range(200)) + file[start + 200 :]


def two_faced() -> bytes:
    """A JPEG of 48 x 32 pixels that claims 16 x 16 to a reader that trusts the empty first segment."""
    file = jpeg(FLAG)
    frame, tables = file.index(b"\xff\xc0"), file.index(b"\xff\xc4")
    claim = bytearray(file[frame:tables])
    claim[5:9] = struct.pack(">HH", 16, 16)
    body = bytes(0xFFC0 - 2 - (len(claim) - 2) - 4) + file[frame:tables]
    cover = b"\xff\xe0" + struct.pack(">H", len(body) + 2) + body
    return b"\xff\xd8\xff\xe0\0\0" + bytes(claim) + cover + file[2:frame] + file[tables:]


def starved_webp(picture: np.ndarray) -> bytes:
    """A lossless WebP whose stream ends early inside a sound container."""
    stream = encoded(picture, "WEBP", lossless=True, method=0)[20:]
    return webp(b"VP8L", stream[: int(0.9 * len(stream)) // 2 * 2])


def repeated_scan() -> bytes:
    """A progressive JPEG that refines the same coefficients a hundred times."""
    file = jpeg(FLAG, progressive=True)
    last = file[file.rindex(b"\xff\xda") : -2]
    return file[:-2] + last * 100 + file[-2:]


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
BLANK = [bytes(20_000)] * 20_000
VP8 = bytes([0x10, 0, 0, 0x9D, 1, 0x2A])
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "is empty: choose a JPEG, PNG or WebP picture"),
    "heavy.png": (lambda: bytes(12 * 2**20), "has 12.0 MB, over the limit of 10 MB: make it smaller"),
    "drawing.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is in SVG format"),
    "prolog.svg": (lambda: b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "is in SVG format"),
    "a.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is in HEIC format"),
    "b.heic": (lambda: b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "is in HEIC format"),
    "a.avif": (lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "is in AVIF format"),
    "a.gif": (
        lambda: encoded(FLAG, "GIF"),
        "is in GIF format, which is not read here: save it as JPEG or PNG",
    ),
    "a.tif": (lambda: encoded(FLAG, "TIFF"), "is in TIFF format"),
    "b.tif": (lambda: b"MM\0*\0\0\0\x08", "is in TIFF format"),
    "a.bmp": (lambda: encoded(FLAG, "BMP"), "is in BMP format"),
    "a.pdf": (lambda: encoded(FLAG, "PDF"), "is in PDF format"),
    "text.jpg": (lambda: b"BM or not BM\n" * 9, "is no JPEG, PNG or WebP picture, whatever its name says"),
    "zeros.jpg": (lambda: bytes(1000), "is no JPEG, PNG or WebP picture"),
    "wave.webp": (lambda: b"RIFF\4\0\0\0WAVE", "is no JPEG, PNG or WebP picture"),
    "magic.jpg": (lambda: b"\xff\xd8\xff", "is cut short: copy or download it again"),
    "magic.png": (lambda: SIGNATURE, "is cut short"),
    "magic.webp": (lambda: b"RIFF\4\0\0\0WEBP", "is cut short"),
    "half.jpg": (lambda: jpeg(NOISE)[:2000], "is cut short"),
    "half-progressive.jpg": (lambda: jpeg(NOISE, progressive=True)[:2000], "is cut short"),
    "half.png": (lambda: encoded(NOISE, "PNG")[:2000], "is cut short"),
    "half.webp": (lambda: encoded(NOISE, "WEBP", lossless=True)[:2000], "is cut short"),
    "header.jpg": (lambda: jpeg(NOISE)[:100], "is cut short"),
    "end.png": (lambda: encoded(NOISE, "PNG")[:-12], "is cut short"),
    "spoiled.png": (lambda: spoiled(encoded(NOISE, "PNG"), 0.5), "is damaged or of a rare kind: open it"),
    "spoiled.webp": (lambda: starved_webp(NOISE), "is damaged"),
    "checksum.png": (lambda: png(1, 1, 8, 0, [b"\7"]).replace(b"IHDR", b"IHdR"), "is damaged"),
    "zeros.png": (lambda: SIGNATURE + bytes(100), "is cut short"),
    "bare.png": (lambda: png(3, 1, 8, 3, [b"\0\1\2"]), "is damaged"),
    "flat.png": (lambda: png(0, 1, 8, 2, [b""]), "is damaged"),
    "depth.png": (lambda: png(1, 1, 7, 2, [bytes(9)]), "is damaged"),
    "flat.jpg": (lambda: claiming(48, 0), "is damaged"),
    "two-faced.jpg": (two_faced, "is damaged"),
    "scans.jpg": (repeated_scan, "is damaged"),
    "tables.jpg": (
        lambda: jpeg(FLAG)[:2] + (b"\xff\xdb\0\x43" + bytes(65)) * 4000 + jpeg(FLAG)[2:],
        "is damaged",
    ),
    "blocks.jpg": (lambda: with_segments(jpeg(FLAG), *[b"Exif\0\0" + bytes(9)] * 500_000), "is damaged"),
    "blocks.png": (lambda: png(1, 1, 8, 0, [b"\7"], chunk(b"teSt", b"") * 800_000), "is damaged"),
    "fat.png": (lambda: png(7000, 7000, 8, 2, []), "has 7,000 x 7,000 pixels, over the 40 million of a PNG"),
    "fat.jpg": (lambda: claiming(8000, 5001), "has 8,000 x 5,001 pixels, over the 40 million of a JPEG"),
    "fat.webp": (
        lambda: webp(b"VP8 ", VP8 + struct.pack("<HH", 5001, 4000)),
        "has 5,001 x 4,000 pixels, over the 20 million of a WebP",
    ),
    "bomb.png": (
        lambda: png(20_000, 20_000, 1, 0, BLANK),
        "has 20,000 x 20,000 pixels, over the limit of 12,000 a side: make it smaller",
    ),
    "wide.png": (lambda: png(12_001, 700, 8, 0, []), "has 12,001 x 700 pixels, over the limit of 12,000"),
    "vast.png": (lambda: png(2**31 - 1, 2**31 - 1, 8, 0, []), "has 2,147,483,647 x 2,147,483,647 pixels"),
    "vast.jpg": (lambda: claiming(65_535, 65_534), "has 65,535 x 65,534 pixels"),
    "vast.webp": (
        lambda: webp(b"VP8 ", VP8 + struct.pack("<HH", 16_383, 16_382)),
        "has 16,383 x 16,382 pixels",
    ),
    "vast-lossless.webp": (
        lambda: webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_382 | 16_381 << 14) + bytes(9)),
        "has 16,383 x 16,382 pixels",
    ),
    "vast-extended.webp": (
        lambda: webp(b"VP8X", bytes(4) + b"\xff\xff\xff\xfe\xff\xff"),
        "has 16,777,216 x 16,777,215 pixels",
    ),
    "thread.png": (
        lambda: png(21, 1, 8, 0, [bytes(21)]),
        "has 21 x 1 pixels, one side over 20 times the other: crop it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_file_reason_and_remedy(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(ImageError) as refusal:
        decode(make(), name)
    sentence = str(refusal.value)
    assert sentence.startswith(f'"{name}" {reason}')
    assert ": " in sentence
    assert sentence.endswith(".")
    assert sentence.isprintable()


DECODE_ALL = """
import sys
from pathlib import Path
from explorer.images import ImageError, decode

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

warm_up, *paths = map(Path, sys.argv[1:])
decode(warm_up.read_bytes(), warm_up.name)
before = peak()
for path in paths:
    try:
        decode(path.read_bytes(), path.name)
    except ImageError:
        print(path.name)
print(peak() - before)
"""
linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux reports"
)


def decode_elsewhere(files: dict[str, bytes], folder: Path) -> tuple[list[str], float]:
    """In a fresh process: the names refused, and the highest peak in MB above that of a small picture."""
    paths = [folder / name for name in ["warm-up", *files]]
    for path, file in zip(paths, [encoded(FLAG, "WEBP"), *files.values()], strict=True):
        path.write_bytes(file)
    command = [sys.executable, "-c", DECODE_ALL, *map(str, paths)]
    root = Path(images.__file__).parents[1]
    *refused, peak = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    return refused, float(peak)


@linux
def test_refusals_take_little_memory(tmp_path: Path) -> None:
    tall = np.kron(NOISE[:40, :50], np.ones((100, 100, 1), np.uint8))
    files = {name: make() for name, (make, _) in REFUSED.items()} | {
        "spoiled-40-megapixels.png": spoiled(png(10_000, 4000, 8, 6, [bytes(40_000)] * 4000), 0.99),
        "spoiled-20-megapixels.webp": starved_webp(tall),
    }
    refused, peak = decode_elsewhere(files, tmp_path)
    assert refused == list(files)
    assert peak < 200


@linux
@pytest.mark.parametrize(
    ("make", "limit"),
    [
        pytest.param(lambda: jpeg(np.full((6000, 6000), 90, np.uint8)), 30, id="grey JPEG"),
        pytest.param(lambda: png(8000, 5000, 8, 2, [bytes(24_000)] * 5000), 250, id="RGB PNG"),
    ],
)
def test_large_pictures_take_bounded_memory(make: Callable[[], bytes], limit: int, tmp_path: Path) -> None:
    refused, peak = decode_elsewhere({"large": make()}, tmp_path)
    assert not refused
    assert peak < limit


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two\nlines\t\x00\x1b[31m\u202e.png", '"twolines[31m.png"'),
        ("x" * 300 + "-holiday.png", '"' + "x" * 39 + "…" + "x" * 8 + '-holiday.png"'),
        ("é" * 60, '"' + "é" * 60 + '"'),
        ("", '""'),
    ],
)
def test_names_are_shortened_and_cleaned(name: str, shown: str) -> None:
    with pytest.raises(ImageError) as refusal:
        decode(b"text", name)
    assert str(refusal.value).startswith(shown + " is no JPEG")


def test_cap_is_a_limit_of_the_caller() -> None:
    file = encoded(FLAG, "PNG")
    assert decode(file, "flag.png", max_bytes=len(file)).width == 48
    with pytest.raises(ImageError, match="over the limit"):
        decode(file, "flag.png", max_bytes=len(file) - 1)


def test_damage_never_escapes_as_another_error() -> None:
    """Seeded mutations of six kinds of file: a picture or an ImageError, nothing else."""
    files = [
        jpeg(FLAG, progressive=True),
        with_segments(jpeg(FLAG), b"Exif\0\0" + exif(6)),
        png(3, 1, 8, 3, [b"\0\1\2"], PALETTE, chunk(b"tRNS", b"\xff\0\x80")),
        encoded(FLAG, "WEBP", exif=exif(6)),
        frames("WEBP"),
        frames("PNG"),
    ]
    dice = random.Random(0)
    outcomes = {"picture": 0, "refused": 0}
    for _ in range(1500):
        file = bytearray(dice.choice(files))
        for _ in range(dice.choice((1, 2, 8))):
            file[dice.randrange(dice.choice((60, len(file))))] = dice.choice((0, 1, 255, dice.randrange(256)))
        try:
            picture = decode(bytes(file), "mutant")
        except ImageError:
            outcomes["refused"] += 1
        else:
            outcomes["picture"] += 1
            assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert min(outcomes.values()) > 100


def test_load_reads_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "flag.png"
    file.write_bytes(encoded(FLAG, "PNG"))
    picture = load(file)
    assert picture.name == "flag.png"
    assert np.array_equal(picture.pixels, FLAG)


def test_load_refusals(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    with (tmp_path / "huge.png").open("wb") as sparse:
        sparse.truncate(100 * 2**20 + 2**19)
    for name, reason in {
        "missing.png": "cannot be read (No such file or directory): check the path.",
        "folder.png": "cannot be read (Is a directory): check the path.",
        "empty.png": "is empty: choose a JPEG, PNG or WebP picture.",
        "huge.png": "has 100.5 MB, over the limit of 100 MB: make it smaller.",
    }.items():
        with pytest.raises(ImageError) as refusal:
            load(tmp_path / name)
        assert str(refusal.value) == f'"{name}" {reason}'


@pytest.mark.parametrize(
    ("identifier", "distribution", "path"),
    [
        ("chelsea", "scikit-image", "skimage/data/chelsea.png"),
        ("coffee", "scikit-image", "skimage/data/coffee.png"),
        ("rocket", "scikit-image", "skimage/data/rocket.jpg"),
        ("astronaut", "scikit-image", "skimage/data/astronaut.png"),
        ("motorcycle", "scikit-image", "skimage/data/motorcycle_left.png"),
        ("china", "scikit-learn", "sklearn/datasets/images/china.jpg"),
    ],
)
def test_sample(identifier: str, distribution: str, path: str) -> None:
    file = Path(str(metadata.distribution(distribution).locate_file(path)))
    picture = sample(identifier)
    assert picture.name == identifier
    assert picture.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert np.array_equal(picture.pixels, np.asarray(Image.open(file)))
    assert sample(identifier) is picture


def test_samples_are_titled() -> None:
    assert list(SAMPLES) == ["chelsea", "coffee", "rocket", "astronaut", "motorcycle", "china"]
    assert all(title and title.isprintable() for title in SAMPLES.values())


@pytest.mark.parametrize("identifier", ["flower", "", "../../etc/passwd"])
def test_unknown_sample(identifier: str) -> None:
    with pytest.raises(ImageError) as refusal:
        sample(identifier)
    known = "chelsea, coffee, rocket, astronaut, motorcycle, china"
    assert str(refusal.value) == f'"{identifier}" is not a sample: choose one of {known}.'


def test_sample_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    sample.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ImageError, match='"china" is a file of sklearn, which is missing: install sklearn'):
        sample("china")


def test_samples_import_no_heavy_package() -> None:
    program = "import sys; from explorer.images import *; [*map(sample, SAMPLES)]; print(*sys.modules)"
    root = Path(images.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert not {"skimage", "sklearn"} & set(run.stdout.split())
