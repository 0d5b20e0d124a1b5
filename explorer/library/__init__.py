"""Reference libraries: build, store, select, keep."""

from explorer.library.build import (
    Keep,
    Recipe,
    Unfinished,
    build,
    forget,
    open_or_build,
    unfinished,
)
from explorer.library.keep import budget, check, delete, discard, tidy, unreadable
from explorer.library.merge import merge
from explorer.library.on_the_fly import SIZE as ON_THE_FLY_SIZE
from explorer.library.on_the_fly import from_picture
from explorer.library.overview import Plane, Tally, common, plane, tally
from explorer.library.select import RULES, UNLIKELY, Rule, Selection, Subject, select
from explorer.library.shard import LibraryError, marks
from explorer.library.sources import Source, from_entries, from_pictures, textures
from explorer.library.store import (
    BUILT_IN,
    ON_THE_FLY,
    Library,
    LibraryInfo,
    installed,
    open_library,
    opened,
    refuse_own,
    touch,
)
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
    "discard",
    "export",
    "find_library",
    "forget",
    "from_entries",
    "from_picture",
    "from_pictures",
    "installed",
    "marks",
    "merge",
    "open_library",
    "open_or_build",
    "opened",
    "plane",
    "refuse_own",
    "select",
    "take_in",
    "tally",
    "textures",
    "tidy",
    "touch",
    "unfinished",
    "unreadable",
]
