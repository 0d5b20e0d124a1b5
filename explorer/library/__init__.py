"""Reference libraries: build, store, select, keep."""

from explorer.library.build import (
    BUILT_IN,
    Keep,
    Recipe,
    Unfinished,
    build,
    forget,
    intact,
    open_or_build,
    unfinished,
)
from explorer.library.keep import budget, check, delete, tidy
from explorer.library.merge import merge
from explorer.library.on_the_fly import ON_THE_FLY, from_picture
from explorer.library.on_the_fly import SIZE as ON_THE_FLY_SIZE
from explorer.library.overview import Plane, Tally, common, plane, tally
from explorer.library.select import RULES, UNLIKELY, Rule, Selection, Subject, select
from explorer.library.shard import LibraryError, marks
from explorer.library.sources import Source, from_entries, from_pictures, textures
from explorer.library.store import Library, LibraryInfo, home, installed, open_library, opened, touch
from explorer.library.store import find as find_library
from explorer.library.transfer import export, take_in

__all__ = [
    "BUILT_IN",
    "ON_THE_FLY",
    "ON_THE_FLY_SIZE",
    "RULES",
    "UNLIKELY",
    "Keep",
    "Library",
    "LibraryError",
    "LibraryInfo",
    "Plane",
    "Recipe",
    "Rule",
    "Selection",
    "Source",
    "Subject",
    "Tally",
    "Unfinished",
    "budget",
    "build",
    "check",
    "common",
    "delete",
    "export",
    "find_library",
    "forget",
    "from_entries",
    "from_picture",
    "from_pictures",
    "home",
    "installed",
    "intact",
    "marks",
    "merge",
    "open_library",
    "open_or_build",
    "opened",
    "plane",
    "select",
    "take_in",
    "tally",
    "textures",
    "tidy",
    "touch",
    "unfinished",
]
