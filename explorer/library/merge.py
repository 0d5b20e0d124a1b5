"""Several libraries of one backbone and layer put together, whatever machines they were built on."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from explorer.library import store
from explorer.library.build import Recipe, refuse_unfinished
from explorer.library.keep import check
from explorer.library.shard import File, LibraryError
from explorer.library.store import LibraryInfo


def merge(parts: Sequence[LibraryInfo], recipe: Recipe) -> LibraryInfo:
    """Joins libraries; the same parts in any order, or the same records in other parts, give the same library.

    Records of the same picture are taken once. The parts stay.

    Args:
        recipe: its name and source; a former library of this name is replaced.

    Raises:
        LibraryError: parts of other weights, layers or preprocessing than the first, a damaged one, or none; or a
            build of this name has begun.
    """
    if not parts:
        raise LibraryError("Nothing to merge: name at least one library.")
    first = parts[0]
    for part in parts:
        if part.space != first.space:
            raise LibraryError(
                f"The library {part.name!r} is of {part.backbone} at {part.layer} with weights or preprocessing other "
                f"than those of {first.name!r}: merge libraries of one backbone and layer."
            )
        check(part)
    info = LibraryInfo(
        recipe.name,
        first.backbone,
        first.layer,
        first.space,
        recipe.source,
        skipped=tuple(sorted({reason for part in parts for reason in part.skipped})),
    )
    with store.writing(info.folder, lambda: None):
        refuse_unfinished(info)
        (info.folder / store.JOURNAL).unlink(missing_ok=True)
        shards: dict[str, File] = {}
        for part in parts:
            for file in part.shards:
                if not file.intact(info.folder, whole=True):
                    _take(part.folder / file.name, info.folder / file.name)
                shards[file.name] = file
        files = tuple(shards[name] for name in sorted(shards))
        return store.publish(store.assembled(replace(info, files=files)))


def _take(source: Path, target: Path) -> None:
    """The same file there: by a link where the file system has them, for its content never changes."""
    scratch = target.with_name(f".{target.name}")
    scratch.unlink(missing_ok=True)
    try:
        scratch.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, scratch)
    scratch.replace(target)
