"""A library as one file to give away: a ZIP file of its index and records, read back with distrust."""

import tempfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO

from explorer.library import store
from explorer.library.build import Recipe
from explorer.library.keep import check, delete
from explorer.library.shard import LibraryError, Shard, Stored, write_shard
from explorer.library.store import INDEX, LibraryInfo

_MAX_INDEX = 16 * 2**20
_CHUNK = 2**20


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
            if name is not None:
                info = replace(info, name=Recipe(name, info.source).name)
            if limit is not None and info.bytes > limit:
                raise LibraryError(
                    f"The library has {info.bytes / 1e6:,.0f} MB, over the limit of {limit / 1e6:,.0f} MB: import it "
                    "with `python -m explorer library import`."
                )
            return _install(archive, info)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(
            "The file is no library that this version can read, or it is damaged: export the library again."
        ) from error


def _install(archive: zipfile.ZipFile, info: LibraryInfo) -> LibraryInfo:
    former = store.read_index(info.folder)
    if former is not None and former.fingerprint == info.fingerprint:
        return former
    if former is not None:
        raise LibraryError(
            f"Another library {info.name!r} for {info.backbone} at {info.layer} is here already: import this one by "
            "another name, or delete that one."
        )
    with store.writing(info.folder), tempfile.TemporaryDirectory() as scratch:
        store.sweep(info.folder, set())
        files = []
        for file in info.shards:
            path = Path(scratch) / file.name
            with archive.open(file.name) as source:
                path.write_bytes(source.read(file.bytes))
            if not file.intact(path.parent, whole=True):
                raise ValueError(f"{file.name} is damaged")
            files.append(write_shard(info.folder, Shard.read(Stored(path))))
            path.unlink()
        made = store.publish(replace(info, files=tuple(files), plan=""))
    if made.fingerprint != info.fingerprint:
        delete(made)
        raise ValueError("its records are not those of its index")
    return made
