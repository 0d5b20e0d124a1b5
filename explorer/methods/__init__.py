"""The attribution methods: every module in this folder registers its own."""

import importlib
import pkgutil
from typing import get_args

from explorer.methods.base import (
    METHODS,
    Attribution,
    Blank,
    Family,
    Method,
    UndefinedMethodError,
    UnknownMethodError,
    find,
    register,
)

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

_families = get_args(Family)
for _name, _ in sorted(METHODS.items(), key=lambda item: _families.index(item[1].family)):
    METHODS[_name] = METHODS.pop(_name)

DEFAULT_METHODS = ("grad-cam", "libra-cam")

__all__ = [
    "DEFAULT_METHODS",
    "METHODS",
    "Attribution",
    "Blank",
    "Family",
    "Method",
    "UndefinedMethodError",
    "UnknownMethodError",
    "find",
    "register",
]
