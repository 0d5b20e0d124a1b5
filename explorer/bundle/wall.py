"""What is on the wall: pictures with their maps and figures, and how they are to be drawn."""

import hashlib
from dataclasses import dataclass

from explorer.compute import Explanation, Figures
from explorer.images import Picture
from explorer.metrics import Metric
from explorer.render.publication import Layout


@dataclass(frozen=True, eq=False)
class Hung:
    """A picture with its maps, in the order of the wall, and the figures of each that is measured."""

    picture: Picture
    explanations: tuple[Explanation, ...]
    figures: tuple[Figures | None, ...]


@dataclass(frozen=True, eq=False)
class Wall:
    """Everything that is taken away.

    Args:
        metrics: that the figures are of.
        layout: of the figure; the overlays have its colours too.
        missing: what is not on the wall yet, a phrase each.
    """

    rows: tuple[Hung, ...]
    metrics: tuple[Metric, ...]
    layout: Layout
    missing: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Equal for walls of which equal files are made."""
        maps = [
            (
                row.picture.digest,
                row.picture.name,
                e.request,
                e.weights,
                e.calibration is None,
                figures is None,
            )
            + ((e.references.library.info.fingerprint,) if e.references else ())
            for row in self.rows
            for e, figures in zip(row.explanations, row.figures, strict=True)
        ]
        return hashlib.sha256(repr((maps, self.metrics, self.layout, self.missing)).encode()).hexdigest()


def stem(number: int, method: str) -> str:
    """The name of a map's files: the picture's number on the wall, from 1, and the method's registered name."""
    return f"{number:02}-{method}"
