"""Pixels inserted or deleted in the order of the map, step by step."""

from dataclasses import dataclass

from torch import Tensor

from explorer.declaration import Paper, option
from explorer.metrics.base import Metric, area, register
from explorer.metrics.examined import Examined
from explorer.metrics.perturbation import Deleted, Fill, Inserted

RISE = Paper(
    "RISE: Randomized Input Sampling for Explanation of Black-box Models",
    "Petsiuk, Das, Saenko",
    "BMVC",
    2018,
    "https://arxiv.org/abs/1806.07421",
)


@dataclass(frozen=True)
class Steps(Metric):
    """Of the probability after each step, from none to all of the pixels."""

    paper = RISE
    kind = "perturbation"
    cost = "a pass for each step: 29 at 224 x 224 pixels"

    step: int = option(
        1792,
        "Pixels changed at a time: 1792 is what RISE's code takes over data sets, 224 for one picture.",
        label="step",
        source="github.com/eclique/RISE",
        low=1,
        high=50_176,
    )

    def counts(self, pixels: int) -> list[int]:
        """How many pixels are changed at each point of the curve, the first and the last included."""
        return [*range(0, pixels, self.step), pixels]

    def value(self, shown: Examined, scores: Tensor) -> float:
        """(sum of the n probabilities - (first + last) / 2) / (n - 1)"""
        return area(scores)


@register
@dataclass(frozen=True)
class Insertion(Steps):
    name = "insertion"
    title = "Insertion"
    symbol = "Ins"
    better = "higher"
    good = "Rewards maps whose highest values alone bring the class back."
    bad = "Depends on the order only, and on what the pixels are inserted into."
    removed = "the picture blurred, the mean colour or black (`start`)"
    quirk = "torch-cam inserts into zeros, the mean colour, unless it is told otherwise, and takes 20 steps."

    start: Fill = option(
        "blur",
        "What the pixels are inserted into: the picture blurred (11 x 11 pixels, deviation 5), the mean colour or "
        "black.",
        label="into",
        source="github.com/eclique/RISE",
        choices=("blur", "mean", "black"),
    )

    def perturbations(self, pixels: int) -> tuple[Inserted, ...]:
        return tuple(Inserted(count, self.start) for count in self.counts(pixels))


@register
@dataclass(frozen=True)
class Deletion(Steps):
    name = "deletion"
    title = "Deletion"
    symbol = "Del"
    better = "lower"
    good = "Rewards maps without whose highest values the class is lost."
    bad = "Few pixels scattered over the object break a network, so maps of single pixels do well."
    removed = "the mean colour, black or the picture blurred (`hole`)"
    quirk = "RISE's code deletes to zero in normalised space, the mean colour; torch-cam takes 20 steps."

    hole: Fill = option(
        "mean",
        "What deleted pixels become: the mean colour, black, or the picture blurred (11 x 11 pixels, deviation 5).",
        label="hole",
        source="github.com/eclique/RISE",
        choices=("mean", "black", "blur"),
    )

    def perturbations(self, pixels: int) -> tuple[Deleted, ...]:
        return tuple(Deleted(count, self.hole) for count in self.counts(pixels))
