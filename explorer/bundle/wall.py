"""What is on the wall: pictures with their maps and figures, and how they are to be drawn."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from explorer.compute import Explanation, Figures
from explorer.images import Picture
from explorer.metrics import Metric
from explorer.render.publication import Layout
from explorer.render.scale import Ends, shared_ends


@dataclass(frozen=True, eq=False)
class Hung:
    """A map under the title of its column, and its figures if they are measured."""

    column: str
    explanation: Explanation
    figures: Figures | None = None


@dataclass(frozen=True, eq=False)
class Line:
    """Maps of one picture, in the order of the wall; ``title`` is what they share beside it, if anything."""

    picture: Picture
    title: str
    maps: tuple[Hung, ...]


@dataclass(frozen=True, eq=False)
class Wall:
    """Everything that is taken away.

    Args:
        rows: those of one picture one after the other.
        metrics: that the figures are of.
        layout: of the figure; the overlays have its view, its colours and its scale too.
        missing: what is not on the wall yet, a phrase each.
    """

    rows: tuple[Line, ...]
    metrics: tuple[Metric, ...]
    layout: Layout
    missing: tuple[str, ...] = ()

    @property
    def pictures(self) -> dict[str, tuple[int, Picture]]:
        """By digest, the number of each picture, from 1."""
        found = {row.picture.digest: row.picture for row in self.rows}
        return {digest: (number, found[digest]) for number, digest in enumerate(found, 1)}

    def named(self) -> Iterator[tuple[str, Line, Hung]]:
        """Every map with the name of its files, and the row that it stands in."""
        numbers, taken = self.pictures, Counter[str]()
        for row in self.rows:
            number, _ = numbers[row.picture.digest]
            for hung in row.maps:
                yield stem(number, hung.explanation.request.method.name, taken), row, hung

    @property
    def ends(self) -> dict[str, Ends]:
        """The scales that methods share, by their names with their options; none where each map has its own."""
        shown = (hung.explanation for row in self.rows for hung in row.maps)
        return shared_ends(shown, signed=self.layout.view == "signed") if self.layout.shared else {}

    @property
    def identity(self) -> str:
        """Equal for walls of which equal files are made."""
        maps = [
            (row.picture.digest, row.picture.name, row.title, hung.column, e.request, e.weights)
            + (e.calibration is None, hung.figures is None)
            + ((e.references.library.info.fingerprint,) if e.references else ())
            for row in self.rows
            for hung in row.maps
            for e in [hung.explanation]
        ]
        return hashlib.sha256(repr((maps, self.metrics, self.layout, self.missing)).encode()).hexdigest()


def stem(number: int, method: str, taken: Counter[str]) -> str:
    """The name of a map's files: the picture's number on the wall, the method's registered name, and from the second
    such map on its number among them, which ``taken`` counts."""
    name = f"{number:02}-{method}"
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}-{taken[name]}"
