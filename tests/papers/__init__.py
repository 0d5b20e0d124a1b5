"""The formulas of the papers, written out naively in float64; nothing here comes from the explorer.

Every module holds the transcriptions of a family in ``METHODS``: one for each registered method, called with a
network, a picture, a class, the references and the method's options. ``OPTIONS`` holds the options with which a
costly method stands in the table of parity, ``UNDEFINED`` the networks on which a method is not defined, ``BLANK``
those on which its map is zero but for rounding, ``EXACT`` the methods that are compared in float64, for in float32
rounding decides which maximum of a pooling counts, or which way a step goes. ``METRICS`` holds the transcription of
each registered metric.
"""

import importlib
import pkgutil

METHODS = {}
METRICS = {}
OPTIONS = {}
UNDEFINED = {}
BLANK = {}
EXACT = set()
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    _family = importlib.import_module(_module.name)
    METHODS |= getattr(_family, "METHODS", {})
    METRICS |= getattr(_family, "METRICS", {})
    OPTIONS |= getattr(_family, "OPTIONS", {})
    UNDEFINED |= getattr(_family, "UNDEFINED", {})
    BLANK |= getattr(_family, "BLANK", {})
    EXACT |= getattr(_family, "EXACT", set())
