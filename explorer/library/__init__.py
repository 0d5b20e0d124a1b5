"""Reference libraries: build, store, select."""

from explorer.library.build import BUILT_IN, build, from_folder, open_or_build
from explorer.library.select import RULES, Rule, Selection, select
from explorer.library.store import Library, LibraryError, LibraryInfo, home, installed, open_library
from explorer.library.store import find as find_library

__all__ = [
    "BUILT_IN",
    "RULES",
    "Library",
    "LibraryError",
    "LibraryInfo",
    "Rule",
    "Selection",
    "build",
    "find_library",
    "from_folder",
    "home",
    "installed",
    "open_library",
    "open_or_build",
    "select",
]
