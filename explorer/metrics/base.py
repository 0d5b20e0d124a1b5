"""What a metric is: options declared once, a registered name, the pictures it needs, and one number."""

from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from explorer.declaration import Declared, stated
from explorer.errors import ExplorerError
from explorer.metrics.examined import Examined
from explorer.metrics.perturbation import Perturbation

Better = Literal["higher", "lower"]
Kind = Literal["masked probability", "coherence", "perturbation", "localisation", "sanity"]


@dataclass(frozen=True)
class Metric(Declared):
    """Base of all metrics: a frozen dataclass of options whose call measures one map.

    ``better`` says which way is good, None where neither is; ``low`` and ``high`` bound the value, None for no bound.
    ``cost`` says in words how many forward passes a map takes, ``good`` what the metric rewards, ``bad`` what fools it,
    ``removed`` what a masked pixel becomes, None where none is masked, ``quirk`` where published codes differ.
    Over a data set the values of all pictures are averaged.
    """

    symbol: ClassVar[str]
    kind: ClassVar[Kind]
    better: ClassVar[Better | None]
    low: ClassVar[float | None] = 0
    high: ClassVar[float | None] = 1
    needs_objects: ClassVar[bool] = False
    cost: ClassVar[str] = "1 pass"
    good: ClassVar[str]
    bad: ClassVar[str]
    removed: ClassVar[str | None] = None
    quirk: ClassVar[str | None] = None

    def perturbations(self, pixels: int) -> tuple[Perturbation, ...]:
        """The pictures to be scored for a map of so many pixels."""
        return ()

    def remade(self) -> tuple[Hashable, ...]:
        """For what else the method makes its map: other pictures, other networks; equal ones are shared by metrics."""
        return ()

    def unshared(self) -> int:
        """How many further forward passes a map takes."""
        return 0

    def passes(self, pixels: int, method: int) -> int:
        """About how many forward passes a map of so many pixels takes, of a method that takes so many."""
        return len(self.perturbations(pixels)) + len(self.remade()) * method + self.unshared()

    def value(self, shown: Examined, scores: Tensor) -> float:
        """The metric of a map; NaN where it is not defined.

        Args:
            scores: probabilities (m,) float64 of the target on the perturbed pictures.
        """
        raise NotImplementedError

    def __call__(self, shown: Examined) -> float:
        return self.value(shown, shown.scores(self.perturbations(shown.saliency.numel())))

    @classmethod
    def definition(cls) -> str:
        """What it measures, as its code says."""
        return stated(cls.value)

    def describe(self) -> str:
        """With which options it measures, and what a masked pixel becomes where none of them says that, in words."""
        options = [f"{item.metadata['label']}: {getattr(self, item.name)}" for item in fields(self)]
        fixed = self.removed and not any(f"`{item.name}`" in self.removed for item in fields(self))
        return ", ".join([*options, *([f"fill: {self.removed}"] if fixed else [])])


def area(scores: Tensor) -> float:
    """Under the curve of scores (n,) over evenly spaced points of unit length, by the trapezoid rule."""
    return float((scores.sum() - scores[[0, -1]].sum() / 2) / (len(scores) - 1))


class UnknownMetricError(ExplorerError):
    """A metric name that is not registered; the sentence lists those that are."""


METRICS: dict[str, type[Metric]] = {}


def register(metric: type[Metric]) -> type[Metric]:
    """Class decorator: makes a metric known by its name everywhere."""
    METRICS[metric.name] = metric
    return metric


def find(name: str) -> type[Metric]:
    try:
        return METRICS[name]
    except KeyError:
        known = ", ".join(METRICS)
        raise UnknownMetricError(f"There is no metric {name[:80]!r}; there are {known}.") from None
