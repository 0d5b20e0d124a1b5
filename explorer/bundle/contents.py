"""The files of a bundle, a ZIP file or its unpacked folder, neither of which is trusted."""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from explorer.errors import ExplorerError

MAX_FILES = 5000
MAX_BYTES = 500 * 2**20
MAX_FILE = 100 * 2**20  # bytes
MANIFEST = "manifest.json"

_ENTRY = b"PK\x01\x02"  # before each member in the directory of a ZIP file
_REMEDY = "take it from the page again"


class BundleError(ExplorerError):
    """A bundle that cannot be used: one sentence."""


class Contents:
    """Files by their names in the bundle, each read when it is asked for and none unpacked to disk."""

    def __init__(self, files: Mapping[str, Callable[[], IO[bytes]]]) -> None:
        self._files = files

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            BundleError: no such file, a damaged or encrypted one, or one over 100 MB whatever it declares.
        """
        if name not in self._files:
            raise BundleError(f"The bundle holds no {_shown(name)}: {_REMEDY}.")
        try:
            with self._files[name]() as file:
                data = file.read(MAX_FILE + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise BundleError(f"{_shown(name)} of the bundle is damaged or encrypted: {_REMEDY}.") from error
        if len(data) > MAX_FILE:
            raise BundleError(
                f"{_shown(name)} of the bundle is over {MAX_FILE // 2**20} MB unpacked: {_REMEDY}."
            )
        return data


def contents(path: Path) -> Contents:
    """The files of a ZIP file or of a folder, of which links are left out.

    Raises:
        BundleError: neither of the two, a damaged ZIP file, over 5000 files or 500 MB.
    """
    if path.is_dir():
        return Contents(_of_folder(path))
    if not path.is_file():
        raise BundleError(f"{_shown(path.name)} is no file and no folder: name a bundle.")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{_shown(path.name)} is over {MAX_BYTES // 2**20} MB: {_REMEDY}, with fewer maps.")
    return Contents(_of_archive(path.read_bytes(), path.name))


def _of_folder(folder: Path) -> dict[str, Callable[[], IO[bytes]]]:
    found: dict[str, Callable[[], IO[bytes]]] = {}
    for place, _, names in os.walk(folder):
        for file in (Path(place) / name for name in names):
            if not file.is_symlink() and file.is_file():
                found[file.relative_to(folder).as_posix()] = partial(_binary, file)
        _check_count(len(found))
    return found


def _binary(file: Path) -> IO[bytes]:
    return file.open("rb")


def _of_archive(data: bytes, name: str) -> dict[str, Callable[[], IO[bytes]]]:
    _check_count(data.count(_ENTRY))
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BundleError(f"{_shown(name)} is no ZIP file, or a damaged one: {_REMEDY}.") from error
    members = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members):
        raise BundleError(f"{_shown(name)} is packed in a rare way: {_REMEDY}.")
    return {info.filename: partial(archive.open, info) for info in members}


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise BundleError(f"The bundle holds over {MAX_FILES} files: {_REMEDY}, with fewer maps.")


def _shown(name: str) -> str:
    """A name fit for a sentence and for a terminal."""
    return f'"{printable(name)}"'


def printable(text: str) -> str:
    """At most 80 characters, none of which a terminal would obey."""
    return "".join(filter(str.isprintable, text))[:80]
