"""The attribution methods: every module in this folder registers its own."""

import importlib
import pkgutil

from explorer.methods.base import (
    METHODS,
    Attribution,
    Method,
    OptionError,
    Paper,
    UnknownMethodError,
    find,
    options_of,
    register,
)

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = [
    "METHODS",
    "Attribution",
    "Method",
    "OptionError",
    "Paper",
    "UnknownMethodError",
    "find",
    "options_of",
    "register",
]
