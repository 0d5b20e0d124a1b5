"""What is kept on disk: libraries checked, deleted, and the least recently used removed where there are too many."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from explorer.home import home
from explorer.library import store
from explorer.library.build import unfinished_in
from explorer.library.shard import LibraryError
from explorer.library.store import LibraryInfo

DEFAULT_BUDGET = 20.0  # GB
_IN_USE = 600  # seconds


def check(info: LibraryInfo, progress: Callable[[int, int], None] | None = None) -> None:
    """Reads a library whole.

    Args:
        progress: called with (files read, files in all); may raise to stop.

    Raises:
        LibraryError: names the files that do not hold what was written.
    """
    damaged = []
    for done, file in enumerate(info.files, 1):
        if not file.intact(info.folder, whole=True):
            damaged.append(file.name)
        if progress is not None:
            progress(done, len(info.files))
    if damaged:
        raise LibraryError(
            f"The library {info.name!r} for {info.backbone} at {info.layer} is damaged: {', '.join(damaged)} "
            f"{'does' if len(damaged) == 1 else 'do'} not hold what was written. Build or import it again."
        )


def delete(info: LibraryInfo) -> None:
    """Removes a library.

    Raises:
        LibraryError: it is being written just now, or was meanwhile.
    """
    with store.writing(info.folder):
        found = store.read_index(info.folder)
        if found is not None and (found, found.created) != (info, info.created):
            raise LibraryError(f"The library {info.name!r} has been made anew meanwhile: look at it again.")
        (info.folder / store.INDEX).unlink(missing_ok=True)
        shutil.rmtree(info.folder, ignore_errors=True)


def unreadable() -> list[Path]:
    """The folders of libraries whose index cannot be read and that no build can mend, so that only deleting is left."""
    return sorted(filter(_lost, (path.parent for path in (home() / "libraries").glob(f"*/{store.INDEX}"))))


def _lost(folder: Path) -> bool:
    there = (folder / store.INDEX).exists()
    return there and store.read_index(folder) is None and unfinished_in(folder) is None


def discard(folder: Path) -> None:
    """Removes one of ``unreadable``.

    Raises:
        LibraryError: it is being written just now, or was meanwhile.
    """
    with store.writing(folder):
        if not _lost(folder):
            raise LibraryError("This library has been made anew meanwhile: look at it again.")
        shutil.rmtree(folder, ignore_errors=True)


def budget() -> int:
    """The bytes that all libraries together may take: EXPLORER_LIBRARY_GB, by default 20 GB.

    Raises:
        LibraryError: that is no positive number.
    """
    text = os.environ.get("EXPLORER_LIBRARY_GB", "")
    with suppress(ValueError):
        gigabytes = float(text) if text else DEFAULT_BUDGET
        if gigabytes > 0:
            return int(gigabytes * 1e9)
    raise LibraryError(f"EXPLORER_LIBRARY_GB is {text!r}: set it to a number of gigabytes, such as 20.")


def tidy(needed: Sequence[LibraryInfo]) -> list[LibraryInfo]:
    """Removes what was never finished and never will be, and libraries until all fit into the budget, the least
    recently used first.

    Args:
        needed: those that have just been made, which stay, as do those used in the last ten minutes or being written.

    Returns:
        What was removed.
    """
    for path in (home() / "libraries").glob("*/"):
        if not any((path / name).exists() for name in (store.INDEX, store.JOURNAL)):
            with suppress(LibraryError), store.writing(path):
                if not any((path / name).exists() for name in (store.INDEX, store.JOURNAL)):
                    shutil.rmtree(path, ignore_errors=True)
    kept = sorted(store.installed(), key=lambda info: info.last_use)
    total, removed = sum(info.bytes for info in kept), []
    for info in kept:
        if total <= budget():
            break
        current = store.read_index(info.folder)
        if current is None or info in needed or time.time() - current.last_use <= _IN_USE:
            continue
        with suppress(LibraryError):
            delete(info)
            removed.append(info)
            total -= info.bytes
    return removed
