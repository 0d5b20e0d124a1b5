"""What is kept on disk: libraries checked, deleted, and the least recently used removed where there are too many."""

import os
import shutil
import time
from contextlib import suppress

from explorer.library import store
from explorer.library.shard import LibraryError
from explorer.library.store import LibraryInfo

DEFAULT_BUDGET = 20.0  # GB
_IN_USE = 600  # seconds


def check(info: LibraryInfo) -> None:
    """Reads a library whole.

    Raises:
        LibraryError: names the files that do not hold what was written.
    """
    damaged = [file.name for file in info.files if not file.intact(info.folder, whole=True)]
    if damaged:
        raise LibraryError(
            f"The library {info.name!r} for {info.backbone} at {info.layer} is damaged: {', '.join(damaged)} "
            f"{'does' if len(damaged) == 1 else 'do'} not hold what was written. Build it again, which mends the "
            "damaged files alone, or import it again."
        )


def delete(info: LibraryInfo) -> None:
    """Removes a library; who has it open may go on reading it."""
    with store.writing(info.folder):
        (info.folder / store.INDEX).unlink(missing_ok=True)
        shutil.rmtree(info.folder, ignore_errors=True)


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


def tidy(needed: LibraryInfo) -> list[LibraryInfo]:
    """Removes libraries until all fit into the budget, the least recently used first.

    Args:
        needed: the one that has just been made, which stays, as do those used in the last ten minutes.

    Returns:
        What was removed.
    """
    kept = sorted(store.installed(), key=lambda info: info.last_use)
    total, removed = sum(info.bytes for info in kept), []
    for info in kept:
        if total <= budget():
            break
        if info != needed and time.time() - info.last_use > _IN_USE:
            delete(info)
            removed.append(info)
            total -= info.bytes
    return removed
