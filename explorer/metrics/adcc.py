"""ADCC and its parts: coherency, complexity and average drop in one figure."""

from dataclasses import dataclass

from torch import Tensor

from explorer.declaration import Paper
from explorer.metrics.agreement import correlation
from explorer.metrics.base import Metric, register
from explorer.metrics.examined import Examined
from explorer.metrics.masked import MEAN_OR_BLACK, average_drop, fill_option
from explorer.metrics.perturbation import Fill, Kept, Perturbation

POPPI = Paper(
    "Revisiting the Evaluation of Class Activation Mapping for Explainability: A Novel Metric and Experimental "
    "Analysis",
    "Poppi, Cornia, Baraldi, Cucchiara",
    "CVPR Workshops",
    2021,
    "https://arxiv.org/abs/2104.10252",
)


def coherency(saliency: Tensor, again: Tensor) -> float:
    """(Pearson's correlation of two maps (H, W) + 1) / 2; 0 where one of them is constant."""
    found = correlation(saliency, again)
    return 0.0 if found is None else (found + 1) / 2


def adcc(coherency: float, complexity: float, drop: float) -> float:
    """The harmonic mean of coherency, 1 - complexity and 1 - average drop; 0 where one of them is 0."""
    parts = (coherency, 1 - complexity, 1 - drop)
    return 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0


@register
@dataclass(frozen=True)
class Coherency(Metric):
    name = "coherency"
    title = "Coherency"
    symbol = "Coh"
    paper = POPPI
    kind = "coherence"
    better = "higher"
    cost = "what the method costs, once more"
    good = "Rewards methods that find the same on the masked picture."
    bad = "A map that looks at no network is perfectly coherent."
    removed = MEAN_OR_BLACK
    quirk = "The released code explains the predicted class again whichever is asked, and gives NaN for a constant map."

    fill: Fill = fill_option()

    def remade(self) -> tuple[Fill, ...]:
        return (self.fill,)

    def value(self, shown: Examined, scores: Tensor) -> float:
        """(Pearson(S(x), S(x * S)) + 1) / 2, for the same class; 0 for a constant map"""
        return coherency(shown.saliency, shown.again(self.fill))


@register
@dataclass(frozen=True)
class Complexity(Metric):
    name = "complexity"
    title = "Complexity"
    symbol = "Com"
    paper = POPPI
    kind = "coherence"
    better = "lower"
    cost = "none"
    good = "Rewards small maps."
    bad = "An empty map wins it."
    quirk = "The JAFAR paper counts the pixels above 0 instead."

    def value(self, shown: Examined, scores: Tensor) -> float:
        """The mean of the map"""
        return float(shown.saliency.double().mean())


@register
@dataclass(frozen=True)
class ADCC(Metric):
    name = "adcc"
    title = "ADCC"
    symbol = "ADCC"
    paper = POPPI
    kind = "coherence"
    better = "higher"
    cost = "1 pass and what the method costs, once more"
    good = "One figure that neither an empty nor a full map wins."
    bad = "Spread maps lose by complexity what they gain by a small drop; a centred blob does well."
    removed = MEAN_OR_BLACK
    quirk = (
        "The released code takes the largest probability whatever class is asked, and fails where the drop is 1; "
        "pytorch-grad-cam's ARCC is another figure, with ROAD in the place of the drop."
    )

    fill: Fill = fill_option()

    def perturbations(self, pixels: int) -> tuple[Perturbation, ...]:
        return (Kept(fill=self.fill),)

    def remade(self) -> tuple[Fill, ...]:
        return (self.fill,)

    def value(self, shown: Examined, scores: Tensor) -> float:
        """3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)), of each picture; beside the mean over
        a data set stands the same formula of the mean parts, where these are measured too with the same fill"""
        return adcc(
            coherency(shown.saliency, shown.again(self.fill)),
            float(shown.saliency.double().mean()),
            average_drop(shown.probability, float(scores[0])),
        )
