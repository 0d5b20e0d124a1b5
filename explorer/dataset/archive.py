"""A ZIP file of pictures unpacked, whose names and sizes are not trusted."""

import shutil
import tempfile
import zipfile
import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath

from explorer import images
from explorer.dataset.layouts import DatasetError

MAX_MEMBERS = 5000
MAX_UNPACKED = 200 * 2**20  # bytes
TABLES = ("labels.csv", "boxes.csv")

_ENTRY = b"PK\x01\x02"  # before each member in the directory of a ZIP file
_CHUNK = 2**20
_REMEDY = (
    "make a ZIP file of pictures, perhaps in class folders, with labels.csv and boxes.csv if there are any."
)


def unpack(data: bytes, folder: Path) -> None:
    """Unpacks the pictures and tables of a ZIP file into a new folder; other files are left out.

    Raises:
        DatasetError: no ZIP file, a damaged or encrypted one, a name that leaves the folder, over 5000 members,
            over 200 MB unpacked whatever the file declares, or no picture.
    """
    if data.count(_ENTRY) > MAX_MEMBERS:
        raise DatasetError(f"The ZIP file holds over {MAX_MEMBERS} files: take fewer.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _extract(archive, scratch)
        if not folder.exists():  # another may have unpacked the same meanwhile
            scratch.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"The ZIP file is damaged or encrypted: {_REMEDY}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    wanted = [(info, path) for info in archive.infolist() if (path := _wanted(info))]
    if not any(path.suffix.lower() in images.SUFFIXES for _, path in wanted):
        raise DatasetError(f"The ZIP file holds no JPEG, PNG or WebP file: {_REMEDY}")
    if sum(info.file_size for info, _ in wanted) > MAX_UNPACKED:
        raise _too_large()
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info, _ in wanted):
        raise DatasetError(f"The ZIP file is packed in a rare way: {_REMEDY}")
    written = 0
    for info, path in wanted:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > MAX_UNPACKED:
                    raise _too_large()
                file.write(chunk)


def _wanted(info: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where below the folder a member belongs; None for one that is left out."""
    name = info.filename.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DatasetError(
            f"The ZIP file names {name[:80]!r}, which leaves its folder: make it of relative names."
        )
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    known = path.name in TABLES or path.suffix.lower() in images.SUFFIXES
    return path if known and not hidden and not info.is_dir() else None


def _too_large() -> DatasetError:
    return DatasetError(
        f"The ZIP file is over {MAX_UNPACKED // 2**20} MB unpacked: take fewer or smaller pictures."
    )
