"""A library as one file to give away: a ZIP file of its index and records, read back with distrust."""

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from explorer.library import store
from explorer.library.build import Recipe, refuse_unfinished
from explorer.library.keep import check
from explorer.library.shard import File, LibraryError, Shard, Stored, write
from explorer.library.store import INDEX, LibraryInfo

_MAX_INDEX = 16 * 2**20
_CHUNK = 2**20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def export(info: LibraryInfo, target: IO[bytes]) -> None:
    """Writes a library into a ZIP file.

    Raises:
        LibraryError: it is damaged.
    """
    check(info)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in (INDEX, *(file.name for file in info.shards)):
            # A fixed date: the same library makes the same file.
            member = zipfile.ZipInfo(name)
            with (
                (info.folder / name).open("rb") as source,
                archive.open(member, "w", force_zip64=True) as copy,
            ):
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)


def take_in(source: IO[bytes], name: str | None = None, limit: int | None = None) -> LibraryInfo:
    """Installs a library from a ZIP file that ``export`` wrote, here or elsewhere.

    Nothing in the file is trusted: its records are read as plain numbers, and stored anew.

    Args:
        name: what to call it instead.
        limit: the largest size that is taken in, in bytes.

    Raises:
        LibraryError: no such file, a damaged or too large one, or another library of this name is there.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            with archive.open(INDEX) as file:
                info = store.parse_index(file.read(_MAX_INDEX))
            if any(entry.compress_type not in _PACKED for entry in archive.infolist()):
                raise ValueError("packed in a rare way")
            if name is not None:
                info = replace(info, name=Recipe(name, info.source).name)
            store.refuse_own(info.name)
            if limit is not None and info.bytes > limit:
                raise LibraryError(
                    f"The library has {info.bytes / 1e6:,.0f} MB, over the limit of {limit / 1e6:,.0f} MB: import it "
                    "with `cam-explorer library import`."
                )
            return _install(archive, info)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(
            "The file is no library that this version can read, or it is damaged: export the library again."
        ) from error


def _install(archive: zipfile.ZipFile, info: LibraryInfo) -> LibraryInfo:
    with store.writing(info.folder):
        former = store.read_index(info.folder)
        if former is not None and former.fingerprint != info.fingerprint:
            raise LibraryError(
                f"Another library {info.name!r} for {info.backbone} at {info.layer} is here already: import this one "
                "by another name, or delete that one."
            )
        if former is not None and former.intact:
            return former
        refuse_unfinished(info)
        try:
            files = tuple(_records(archive, info))
            made = store.assembled(replace(info, files=files, plan=former.plan if former else ""))
            if made.fingerprint != info.fingerprint:
                raise ValueError("its records are not those of its index")
        except Exception:
            store.sweep(info.folder, {file.name for file in former.files} if former else set())
            raise
        return store.publish(made)


def _records(archive: zipfile.ZipFile, info: LibraryInfo) -> Iterator[File]:
    """The shards of a library in a ZIP file, stored anew."""
    with tempfile.TemporaryDirectory(dir=info.folder) as scratch:
        for file in info.shards:
            path = Path(scratch) / file.name
            with archive.open(file.name) as source:
                path.write_bytes(source.read(file.bytes))
            if not file.intact(path.parent, whole=True):
                raise ValueError(f"{file.name} is damaged")
            yield write(info.folder, "shard", Shard.read(Stored(path, held=False)).encoded())
            path.unlink()
