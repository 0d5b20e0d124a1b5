"""Reference libraries: build, store, select."""

from explorer.library.build import BUILT_IN, build, from_folder, open_or_build
from explorer.library.on_the_fly import ON_THE_FLY, from_picture
from explorer.library.on_the_fly import SIZE as ON_THE_FLY_SIZE
from explorer.library.select import RULES, Rule, Selection, select
from explorer.library.store import Library, LibraryError, LibraryInfo, home, installed, open_library
from explorer.library.store import find as find_library
from explorer.library.table import TableError, read_labels, read_table

__all__ = [
    "BUILT_IN",
    "ON_THE_FLY",
    "ON_THE_FLY_SIZE",
    "RULES",
    "Library",
    "LibraryError",
    "LibraryInfo",
    "Rule",
    "Selection",
    "TableError",
    "build",
    "find_library",
    "from_folder",
    "from_picture",
    "home",
    "installed",
    "open_library",
    "open_or_build",
    "read_labels",
    "read_table",
    "select",
]
