"""Pictures decoded by other processes, ahead of the one that uses them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

from torch.utils.data import DataLoader, Dataset

from explorer import images
from explorer.dataset.layouts import Entry
from explorer.images import ImageError, Picture


def ahead(entries: Sequence[Entry], workers: int) -> Iterator[tuple[Entry, Picture | ImageError]]:
    """Every entry with its picture, in order; the reason instead of one that cannot be read.

    Each worker decodes at most two pictures ahead. Workers are started anew, not forked, so a caller's script needs
    its ``if __name__ == "__main__"``. They end when the generator is exhausted or closed, or when this process ends.

    Args:
        workers: how many processes decode; 0 decodes in this one.
    """
    files = _Files(tuple(entry.path for entry in entries))
    loader = DataLoader(
        files,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_end_with_parent,
    )
    for entry, picture in zip(entries, loader, strict=True):
        if isinstance(picture, Picture):
            picture.pixels.flags.writeable = False  # which does not survive the way between processes
        yield entry, picture


@dataclass(frozen=True)
class _Files(Dataset[Picture | ImageError]):
    """What a worker is given."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture | ImageError:
        try:
            return images.load(self.paths[index])
        except ImageError as error:
            return error


def _end_with_parent(worker: int) -> None:
    """torch's own watch over the parent lets a worker wait for ever to hand a picture to one that was killed."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
