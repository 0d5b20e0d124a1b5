"""Pictures on disk with their classes and where the objects are: found, unpacked, decoded ahead."""

from explorer.dataset.archive import TABLES, unpack
from explorer.dataset.decoding import ahead
from explorer.dataset.layouts import (
    SYNSET,
    VOC_CLASSES,
    Box,
    Corners,
    DatasetError,
    Entry,
    open_dataset,
    splits,
)
from explorer.dataset.table import TableError

__all__ = [
    "SYNSET",
    "TABLES",
    "VOC_CLASSES",
    "Box",
    "Corners",
    "DatasetError",
    "Entry",
    "TableError",
    "ahead",
    "open_dataset",
    "splits",
    "unpack",
]
