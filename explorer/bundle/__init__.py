"""What is on the wall to take away, and the same maps made again from it."""

from explorer.bundle.contents import BundleError
from explorer.bundle.kept import Bundle, Kept, opened
from explorer.bundle.remake import Made, differences, remake
from explorer.bundle.wall import Hung, Line, Wall
from explorer.bundle.write import Packed, pack

__all__ = [
    "Bundle",
    "BundleError",
    "Hung",
    "Kept",
    "Line",
    "Made",
    "Packed",
    "Wall",
    "differences",
    "opened",
    "pack",
    "remake",
]
