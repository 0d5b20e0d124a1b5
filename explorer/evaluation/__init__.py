"""Evaluation of whole data sets."""

from explorer.evaluation.dataset import VOC_CLASSES, Box, DatasetError, Entry, open_dataset
from explorer.evaluation.decoding import ahead
from explorer.evaluation.regions import boxes_seen, region

__all__ = ["VOC_CLASSES", "Box", "DatasetError", "Entry", "ahead", "boxes_seen", "open_dataset", "region"]
