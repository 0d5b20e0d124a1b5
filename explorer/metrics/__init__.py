"""The metrics of faithfulness, localisation and sanity: every module in this folder registers its own."""

import importlib
import pkgutil
from typing import get_args

from explorer.metrics.agreement import correlation, rank_correlation
from explorer.metrics.base import METRICS, Better, Kind, Metric, UnknownMetricError, find
from explorer.metrics.cost import passes_of
from explorer.metrics.examined import Box, Examined, Explain, Objects, centres, gather
from explorer.metrics.perturbation import Canvas, Deleted, Inserted, Kept, Perturbation
from explorer.metrics.sanity import Randomisation
from explorer.metrics.steps import Deletion, Insertion, Steps

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

_kinds = get_args(Kind)
for _name, _ in sorted(METRICS.items(), key=lambda item: _kinds.index(item[1].kind)):
    METRICS[_name] = METRICS.pop(_name)

DEFAULT_METRICS = ("average-gain", "average-drop", "adcc")

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Better",
    "Box",
    "Canvas",
    "Deleted",
    "Deletion",
    "Examined",
    "Explain",
    "Inserted",
    "Insertion",
    "Kept",
    "Kind",
    "Metric",
    "Objects",
    "Perturbation",
    "Randomisation",
    "Steps",
    "UnknownMetricError",
    "centres",
    "correlation",
    "find",
    "gather",
    "passes_of",
    "rank_correlation",
]
