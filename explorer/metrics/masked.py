"""How the probability of the class changes when the picture is masked by the map.

p is the probability on the picture, o on x * S, d on x * (1 - S).
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from explorer.calibration import PAPER_LEVELS, ROUNDING
from explorer.declaration import Paper, option, stated
from explorer.metrics.base import Metric, area, register
from explorer.metrics.examined import Examined
from explorer.metrics.perturbation import Fill, Kept, Perturbation, Removed

GRAD_CAM_PLUS_PLUS = Paper(
    "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
    "Chattopadhay, Sarkar, Howlader, Balasubramanian",
    "WACV",
    2018,
    "https://arxiv.org/abs/1710.11063",
)
OPTI_CAM = Paper(
    "Opti-CAM: Optimizing Saliency Maps for Interpretability",
    "Zhang, Torres, Sicre, Avrithis, Ayache",
    "CVIU",
    2024,
    "https://arxiv.org/abs/2301.07002",
)
LIFT_CAM = Paper(
    "Towards Better Explanations of Class Activation Mapping",
    "Jung, Oh",
    "ICCV",
    2021,
    "https://arxiv.org/abs/2102.05228",
)
LIBRA_CAM = Paper(
    "Libra-CAM: An Activation-Based Attribution Based on the Linear Approximation of Deep Neural Nets "
    "and Threshold Calibration",
    "Lee, Han",
    "IJCAI",
    2022,
    "https://doi.org/10.24963/ijcai.2022/442",
)
MEAN = "the mean colour, which is zero in normalised space"
MEAN_OR_BLACK = f"{MEAN}, or black (`fill`)"
_OF_THE_CORRECT = (
    "The released evaluation code counts only pictures whose class is predicted right; here all count."
)
_CUT = {"soft": 0, "top half": 50}


def fill_option() -> Any:
    return option(
        "mean",
        "What masked pixels become: the mean colour (zero in normalised space, as most released codes do) or black "
        "(zero in pixel space, as Opti-CAM's). Calibration cuts maps on the mean colour whatever is chosen.",
        label="fill",
        source="Opti-CAM, Score-CAM",
        choices=("mean", "black"),
    )


@dataclass(frozen=True)
class _Masked(Metric):
    """Of the picture multiplied by the map."""

    kind = "masked probability"
    removed = MEAN_OR_BLACK

    fill: Fill = fill_option()
    mask: str = option(
        "soft",
        "The map multiplies the picture as it is, or its lower half is set to zero first, as Score-CAM's authors did.",
        label="mask",
        source="Score-CAM, issue 15",
        choices=("soft", "top half"),
    )

    def perturbations(self, pixels: int) -> tuple[Perturbation, ...]:
        return (Kept(_CUT[self.mask], self.fill),)

    def value(self, shown: Examined, scores: Tensor) -> float:
        masked = float(scores[0])
        return self.compared(shown.probability, masked) if math.isfinite(masked) else math.nan

    def compared(self, p: float, o: float) -> float:
        """The metric from the probability on the picture and on the masked one."""
        raise NotImplementedError

    @classmethod
    def definition(cls) -> str:
        return stated(cls.compared)


def average_drop(p: float, o: float) -> float:
    """relu(p - o) / p"""
    return max(p - o, 0.0) / p if p > 0 else 0.0


@register
@dataclass(frozen=True)
class AverageDrop(_Masked):
    name = "average-drop"
    title = "Average drop"
    symbol = "AD"
    paper = GRAD_CAM_PLUS_PLUS
    better = "lower"
    good = "Rewards maps that keep what the class needs."
    bad = "A map that keeps everything has a drop near zero: Fake-CAM wins it."
    quirk = "pytorch-grad-cam does not divide by p, and takes the logit; torch-cam leaves undefined maps out."

    def compared(self, p: float, o: float) -> float:
        """relu(p - o) / p; 0 where p is 0"""
        return average_drop(p, o)


@register
@dataclass(frozen=True)
class AverageIncrease(_Masked):
    name = "average-increase"
    title = "Average increase"
    symbol = "AI"
    paper = GRAD_CAM_PLUS_PLUS
    better = "higher"
    good = "Counts the pictures on which the masked picture is more probable than the whole one."
    bad = "Says nothing of how much: Fake-CAM reaches nearly half."
    quirk = "The paper asks for p < o; a millionth keeps rounding from counting."

    def compared(self, p: float, o: float) -> float:
        """1 if o > p by more than a millionth, else 0"""
        return float(o - p > ROUNDING)


@register
@dataclass(frozen=True)
class AverageGain(_Masked):
    name = "average-gain"
    title = "Average gain"
    symbol = "AG"
    paper = OPTI_CAM
    better = "higher"
    good = "Rewards maps that remove what speaks against the class; Fake-CAM gains nothing."
    bad = "What chooses or optimises its map by the masked probability (Opti-CAM, calibration) aims at it."

    def compared(self, p: float, o: float) -> float:
        """relu(o - p) / (1 - p); 0 where p is 1"""
        return max(o - p, 0.0) / (1 - p) if p < 1 else 0.0


@register
@dataclass(frozen=True)
class ProbabilityIncrease(_Masked):
    name = "average-probability-increase"
    title = "Average probability increase"
    symbol = "API"
    paper = LIBRA_CAM
    better = "higher"
    good = "As average gain, not divided: in probability."
    bad = "Small where the picture is already certain."
    quirk = _OF_THE_CORRECT

    def compared(self, p: float, o: float) -> float:
        """relu(o - p)"""
        return max(o - p, 0.0)


@register
@dataclass(frozen=True)
class ProbabilityDrop(_Masked):
    name = "average-probability-drop"
    title = "Average probability drop"
    symbol = "APD"
    paper = LIBRA_CAM
    better = "lower"
    good = "As average drop, not divided: in probability."
    bad = "Fake-CAM wins it."
    quirk = _OF_THE_CORRECT

    def compared(self, p: float, o: float) -> float:
        """relu(p - o)"""
        return max(p - o, 0.0)


@register
@dataclass(frozen=True)
class IncreaseRate(AverageIncrease):
    name = "increase-rate"
    title = "Increase rate"
    symbol = "IR"
    paper = LIBRA_CAM
    better = "higher"
    good = "The same count as average increase, under Libra-CAM's name."
    bad = "Says nothing of how much."
    quirk = _OF_THE_CORRECT


@register
@dataclass(frozen=True)
class DropRate(_Masked):
    name = "drop-rate"
    title = "Drop rate"
    symbol = "DR"
    paper = LIBRA_CAM
    better = "lower"
    good = "Counts the pictures on which the masked picture is less probable; ties count in neither rate."
    bad = "Says nothing of how much."
    quirk = _OF_THE_CORRECT

    def compared(self, p: float, o: float) -> float:
        """1 if o < p by more than a millionth, else 0"""
        return float(p - o > ROUNDING)


@register
@dataclass(frozen=True)
class Ties(_Masked):
    name = "ties"
    title = "Ties"
    symbol = "Ties"
    paper = LIBRA_CAM
    better = None
    good = "What increase rate and drop rate leave: the mask changes the probability by a millionth at most."
    bad = "Says nothing of the map; pictures of probability 1 tie."

    def compared(self, p: float, o: float) -> float:
        """1 if o = p to a millionth, else 0"""
        return float(abs(o - p) <= ROUNDING)


@register
@dataclass(frozen=True)
class AverageDropInDeletion(_Masked):
    name = "average-drop-in-deletion"
    title = "Average drop in deletion"
    symbol = "ADD"
    paper = LIFT_CAM
    kind = "masked probability"
    better = "higher"
    low = None
    good = "Rewards maps without whose region the class is lost; not clipped, so a rise counts against."
    bad = "A map that keeps everything wins it: nothing is left of the picture."

    def perturbations(self, pixels: int) -> tuple[Perturbation, ...]:
        return (Removed(_CUT[self.mask], self.fill),)

    def compared(self, p: float, o: float) -> float:
        """(p - d) / p; 0 where p is 0"""
        return (p - o) / p if p > 0 else 0.0


@register
@dataclass(frozen=True)
class CalibrationArea(Metric):
    """Libra-CAM's own AUC has no published definition; this one is the explorer's."""

    name = "calibration-auc"
    title = "Area under the calibration curve (our definition)"
    symbol = "AUC*"
    paper = LIBRA_CAM
    kind = "masked probability"
    better = "higher"
    cost = "10 passes, which the calibration makes anyway"
    good = "Rewards maps whose masked picture stays probable whichever part of the map is cut."
    bad = "It is not the AUC of Libra-CAM's table, whose definition is not published: do not compare the two."
    removed = MEAN

    def perturbations(self, pixels: int) -> tuple[Perturbation, ...]:
        return tuple(Kept(level) for level in PAPER_LEVELS)

    def value(self, shown: Examined, scores: Tensor) -> float:
        """Mean over the ten levels 0, 10 ... 90% removed, by the trapezoid rule, of the masked probability"""
        return area(scores)
